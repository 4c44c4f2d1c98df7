"""The outcome of preflight checks, and what it leads to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reranker_core.config import PreflightChecks
from reranker_core.errors import PreflightRefused

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """One named check. `remedy` is empty where it passed."""

    group: str
    name: str
    passed: bool
    measured: str
    expected: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.group}/{self.name}: {self.measured}; expected {self.expected}. {self.remedy}"


@dataclass(frozen=True)
class Report:
    """All checks of one replica, with the device and number format that they hold for."""

    checks: tuple[Check, ...]
    device: str = ""
    dtype: str = ""

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass, whether enforced or not."""
        return tuple(check for check in self.checks if not check.passed)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def enforce(found: Sequence[Check], checks: PreflightChecks) -> None:
    """Act on failed checks as configured: refuse, warn, or nothing.

    Raises:
        PreflightRefused: with all refused checks in the message, and all as data.

    """
    failed = Report(tuple(found)).failed
    for check in failed:
        if getattr(checks, check.group) == "warn":
            log.warning("preflight not enforced: %s", check)
    refused = [check for check in failed if getattr(checks, check.group) == "refuse"]
    if refused:
        lines = "\n".join(f"  {check}" for check in refused)
        raise PreflightRefused(
            f"preflight refused the model; no row was scored by it:\n{lines}",
            Report(tuple(found)).as_dict(),
        )
