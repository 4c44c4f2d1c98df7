"""Ray's logs on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

_END_BYTES = 20_000
_TRACEBACK, _HARMLESS = "Traceback (most recent call last)", "Exception ignored in"
_LAST_LINE = re.compile(r"[\w.]*(Error|Exception)\b")  # of a traceback
_TOLD = re.compile(r"\s*error: ")  # by a program, such as uv


def log_folder() -> Path | None:
    """The folder of the logs; None if unknown."""
    try:
        from ray.data._internal.logging import get_log_directory

        folder = get_log_directory()
    except Exception:  # noqa: BLE001 - it is not a documented function
        return None
    return Path(folder).parent if folder and Path(folder).parent.is_dir() else None


def startup_problem(folder: Path | None, since: float = 0.0) -> str:
    """The last error that a worker process wrote while it started; '' if there is none. Only files
    that were written after `since` (`time.time()`) are read.

    Before a worker has its own log, it writes to the log of its node (`raylet.err`).
    """
    if folder is None:
        return ""
    files = [*folder.glob("worker-*.err"), *folder.glob("runtime_env_setup-*.log")]
    files += folder.glob("raylet.err")
    for file in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
        if file.stat().st_mtime < since:
            break
        end = file.read_bytes()[-_END_BYTES:].decode(errors="replace")
        told = list(_errors(end.splitlines()))
        if told:
            return told[-1].strip()[:300]
    return ""


def _errors(lines: list[str]) -> Iterator[str]:
    """Errors that ended a program. A line that begins with the name of an error may be harmless."""
    in_traceback = False
    for before, line in pairwise(["", *lines]):
        if line.startswith(_TRACEBACK):
            in_traceback = not before.startswith(_HARMLESS)
        elif _TOLD.match(line):
            yield line
        elif in_traceback and _LAST_LINE.match(line):
            in_traceback = False
            yield line


def no_worker_starts(problem: str) -> str:
    """The message for a `startup_problem`."""
    return (
        f"no worker of Ray can start on this machine: {problem}. Its logs are in {log_folder()}. "
        "The workers need the environment of this process: the same Python, the same Ray, and "
        "this package with its dependencies"
    )
