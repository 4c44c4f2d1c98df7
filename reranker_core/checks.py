"""The outcome of preflight checks, and what it leads to."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from reranker_core.config import PreflightChecks
from reranker_core.errors import PreflightRefused

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One named check. `remedy` says what to do where it failed, and is empty where it passed.
    `notable`: what was measured is worth reading although the check passed.
    """

    group: str
    name: str
    passed: bool
    measured: str
    expected: str
    remedy: str = ""
    notable: bool = False

    def __post_init__(self) -> None:
        if self.passed:
            object.__setattr__(self, "remedy", "")

    def __str__(self) -> str:
        return f"{self.group}/{self.name}: {self.measured}; expected {self.expected}. {self.remedy}"


@dataclass(frozen=True)
class Report:
    """All checks of one replica, and what they hold for.

    Attributes:
        checks: in the order in which they were made.
        device, dtype: where and in which number format the scores were computed.
        processor: the name of that GPU or CPU.
        dtype_reason: why that number format.
        compiled: what came of compiling the model; empty if that was not asked for.
        products: which kernel multiplies matrices, if several were measured.
        model: SHA-256 of weights, tokenizer and config files.
        prompt: the whole input as text, with `{query}` and `{passage}` where these go.
        canaries: float32 scores of the built-in canaries, which replicas compare.
        own_canaries: float32 scores of the user's own canaries, in the order of their file.
        loading_seconds, seconds: what loading the model took, and what the checks took.

    """

    checks: tuple[Check, ...]
    device: str = ""
    dtype: str = ""
    processor: str = ""
    dtype_reason: str = ""
    compiled: str = ""
    products: str = ""
    model: dict[str, str] | None = None
    prompt: str = ""
    canaries: tuple[float, ...] = ()
    own_canaries: tuple[float, ...] = ()
    loading_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass, whether enforced or not."""
        return tuple(check for check in self.checks if not check.passed)

    @classmethod
    def from_dict(cls, report: dict[str, Any]) -> Report:
        """The inverse of `as_dict`."""
        return cls(**{**report, "checks": tuple(Check(**check) for check in report["checks"])})

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


class Inspection:
    """Collects checks stage by stage, and stops at a stage that is refused: what comes after would
    only repeat the finding.
    """

    def __init__(self, actions: PreflightChecks) -> None:
        self._actions = actions
        self._start = time.perf_counter()
        self._loading = 0.0
        self.checks: list[Check] = []

    def add(self, found: Sequence[Check]) -> None:
        """Act on failed checks as configured: refuse, warn, or nothing.

        Raises:
            PreflightRefused: with the refused checks in the message, and all so far as data.

        """
        self.checks += found
        failed = [check for check in found if not check.passed]
        for check in failed:
            if getattr(self._actions, check.group) == "warn":
                log.warning("preflight not enforced: %s", check)
        refused = [check for check in failed if getattr(self._actions, check.group) == "refuse"]
        if refused:
            raise refusal(*refused, checks=self.checks)

    def copy(self) -> Inspection:
        """The same checks so far."""
        other = copy.copy(self)
        other.checks = [*self.checks]
        return other

    def loading(self, load: Callable[[], T]) -> T:
        """What `load` gives; a refusal that it raises gets the checks before it as data, too."""
        start = time.perf_counter()
        try:
            return load()
        except PreflightRefused as error:
            found = [Check(**check) for check in error.report["checks"]]
            raise refusal(*found, checks=[*self.checks, *found]) from None
        finally:
            self._loading += time.perf_counter() - start

    def report(self, **facts: Any) -> Report:
        """The checks so far with what they hold for and what they took."""
        return Report(
            checks=tuple(self.checks),
            loading_seconds=round(self._loading, 3),
            seconds=round(time.perf_counter() - self._start - self._loading, 3),
            **facts,
        )


def refusal(*refused: Check, checks: Sequence[Check] = ()) -> PreflightRefused:
    """The error that names the refused checks, with all checks as data."""
    lines = "\n".join(f"  {check}" for check in refused)
    return PreflightRefused(
        f"preflight refused the model; it scored no row:\n{lines}",
        Report(tuple(checks or refused)).as_dict(),
    )
