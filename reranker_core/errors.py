"""Every error that the job raises on purpose.

    RerankError                 has an exit code, and says whether running again can help
    ├── ConfigError         2   the configuration is wrong
    │   └── StoreRefused    2   a store or disk refuses: credentials, bucket, permission, …
    ├── InputError          2   a shard cannot be read, or its columns do not fit
    ├── PreflightRefused    3   a replica's model failed a check, so no row may be scored
    ├── QuarantineExceeded  4   finished, but more rows were quarantined than allowed
    ├── Incomplete          5   not all parts are committed; run again to resume
    │   ├── StoreUnavailable 5  a store throttles, fails or cannot be reached
    │   └── StoreFull       5   a disk or a quota is full
    └── OutputConflict      6   the output belongs to another run

A message says what is wrong, where, the value, what was expected, and the remedy. Callers look
at the class, never at the text. All of them survive pickling, because they cross Ray.
"""

from __future__ import annotations

from typing import Any

EXIT_COMPLETE = 0
_SHOWN = 240


def brief(error: BaseException) -> str:
    """Class and first line of somebody else's error, for a message of ours."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:_SHOWN]}"


class RerankError(Exception):
    """Base of all errors below.

    Attributes:
        exit_code: what the process exits with.
        retryable: whether the same command may succeed later without a change.

    """

    exit_code = 5
    retryable = False


class ConfigError(RerankError):
    """The configuration is wrong; found on the driver before anything is started."""

    exit_code = 2


class StoreRefused(ConfigError):
    """A store or a disk refuses a request, and will until somebody changes something.

    Attributes:
        answer: what the store said, as `storage.answers.Answer`; None where nothing was said.

    """

    def __init__(self, message: str, answer: Any = None) -> None:
        super().__init__(message)
        self.answer = answer


class InputError(RerankError):
    """A shard is missing, unreadable, or its columns are not those that were configured."""

    exit_code = 2


class PreflightRefused(RerankError):
    """A model may not score. Carries the whole report as plain data (`report`)."""

    exit_code = 3

    def __init__(self, message: str, report: dict[str, Any] | None = None) -> None:
        super().__init__(message, report)
        self.report = report or {}

    def __str__(self) -> str:
        return str(self.args[0])


class QuarantineExceeded(RerankError):
    """All parts are committed, but `guard.max_quarantined_fraction` is exceeded."""

    exit_code = 4


class Incomplete(RerankError):
    """Some parts are not committed. What is committed stays; the same command resumes."""

    exit_code = 5
    retryable = True


class StoreUnavailable(Incomplete):
    """A store throttled, failed or could not be reached for longer than requests are retried."""


class StoreFull(Incomplete):
    """A disk, a bucket or a quota has no room left."""


class OutputConflict(RerankError):
    """The output path holds the results of a different run, or files of somebody else."""

    exit_code = 6
