"""All errors of this package.

    RerankError                 has an exit code, and says whether running again can help
    ├── ConfigError         2   the configuration is wrong
    │   └── StoreRefused    2   a store or disk refuses: credentials, bucket, permission, …
    ├── InputError          2   a shard cannot be read, or its columns do not fit
    ├── PreflightRefused    3   a replica's model failed a check, so no row may be scored
    ├── ReuseRefused        3   earlier scores differ from those that are computed now
    ├── QuarantineExceeded  4   finished, but more rows were quarantined than allowed
    ├── LimitExceeded       7   finished, but a limit on drift or quality is exceeded
    ├── Incomplete          5   not all parts are committed; run again to resume
    │   ├── StoreUnavailable 5  a store throttles, fails or cannot be reached
    │   └── StoreFull       5   a disk or a quota is full
    └── OutputConflict      6   the output belongs to another run

A message says what is wrong, where, the value, what was expected, and the remedy. Callers look
at the class, never at the text, which has no credentials. All of them survive pickling, because
they cross Ray.
"""

from __future__ import annotations

from typing import Any

from reranker_core.errors.redaction import without_credentials

EXIT_COMPLETE = 0
_SHOWN = 240


def brief(error: BaseException) -> str:
    """Class and first line of an error of another library, for a message."""
    lines = str(error).splitlines() or [""]
    line: str = without_credentials(lines[0])
    return f"{type(error).__name__}: {line[:_SHOWN].rstrip('. ')}"


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 part`, `2,000 parts`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def rows_text(start: int, stop: int) -> str:
    """Rows from `start` up to, not including, `stop`: `row 5`, `rows 0 to 1,999`."""
    return f"row {start:,}" if stop - start == 1 else f"rows {start:,} to {max(start, stop - 1):,}"


class RerankError(Exception):
    """Base of all errors below.

    Attributes:
        exit_code: exit code of the process.
        retryable: whether the same command may succeed later without changes.

    """

    exit_code = 5
    retryable = False

    def __str__(self) -> str:
        return str(without_credentials(self.message))

    @property
    def message(self) -> str:
        """What happened. It may contain the credentials of a URL, which `str` leaves out."""
        return super().__str__()


class ConfigError(RerankError):
    """The configuration is wrong. The driver detects this before it starts anything."""

    exit_code = 2


class StoreRefused(ConfigError):
    """A store or a disk refuses a request. A retry does not help without a change.

    Attributes:
        answer: response of the store, a `storage.answers.Answer`; None without a response.

    """

    def __init__(self, message: str, answer: Any = None) -> None:
        super().__init__(message)
        self.answer = answer


class InputError(RerankError):
    """A shard is missing or unreadable, or its columns do not match the configuration."""

    exit_code = 2


class PreflightRefused(RerankError):
    """The model failed a check, so it must not score. `report` has all checks as plain data."""

    exit_code = 3

    def __init__(self, message: str, report: dict[str, Any] | None = None) -> None:
        super().__init__(message, report)
        self.report = report or {}

    def failed(self, group: str) -> list[str]:
        """Names of the checks of a group that did not pass: `group/name`."""
        return [
            f"{group}/{check['name']}"
            for check in self.report.get("checks", ())
            if check["group"] == group and not check["passed"]
        ]

    @property
    def message(self) -> str:
        """What happened, without the report."""
        return str(self.args[0])


class ReuseRefused(RerankError):
    """A pair was scored again for `reuse.check`, and its score differs from the earlier one."""

    exit_code = 3


class QuarantineExceeded(RerankError):
    """All parts are committed, but `guard.max_quarantined_fraction` is exceeded."""

    exit_code = 4


class LimitExceeded(RerankError):
    """All parts are committed, but a limit on drift or quality is exceeded."""

    exit_code = 7


class Incomplete(RerankError):
    """Some parts are not committed. Committed parts are kept. The same command resumes the run."""

    exit_code = 5
    retryable = True


class StoreUnavailable(Incomplete):
    """A store throttled, failed or could not be reached for longer than requests are retried."""


class StoreFull(Incomplete):
    """A disk, a bucket or a quota is full."""


class OutputConflict(RerankError):
    """The output contains the results of a different run, or other files."""

    exit_code = 6
