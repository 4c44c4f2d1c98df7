"""Failures of workers and of Ray, as errors of this package with one-line messages."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.exceptions import (
    ActorDiedError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
)

from reranker_core.errors import ConfigError, Incomplete, RerankError
from reranker_core.pipeline.code import other_code
from reranker_core.pipeline.logs import log_folder
from reranker_core.pipeline.prose import LESS, exit_detail, out_of_memory, taken

log = logging.getLogger(__name__)

_SHOWN = 300
_ADVICE = re.compile(r"\n?Failed to [^\n]* after \d+/\d+ attempts \(total backoff .*", re.DOTALL)
_RESUME = "Committed parts are kept. Run the same command again to resume"


@contextmanager
def our_errors() -> Iterator[None]:
    """Convert every error that leaves the `with` block to an error of this package.

    Raises:
        RerankError: the error of a worker, or the converted form of another error.

    """
    try:
        yield
    except Exception as error:
        # What Ray makes of an error of a worker is of our class, too, but has a traceback as text.
        if isinstance(error, RerankError) and not isinstance(error, RayError):
            raise
        log.debug("a run ended by %s", type(error).__name__, exc_info=True)
        raise as_ours(error) from None


def as_ours(error: BaseException, doing: str = "") -> RerankError:
    """The error of this package for an error of Ray or its cause, raised by `doing` something."""
    cause = _innermost(error)
    if isinstance(cause, RerankError):
        return cause
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        # That of the output is a StoreFull. Others are of Ray, or of a cache.
        where = f"of {cause.filename}" if cause.filename else "of a node"
        return Incomplete(
            f"the disk {where} is full ({_line(cause)}). Free space there, or set RAY_TMPDIR to a "
            f"folder on another disk for Ray's files. {_RESUME}"
        )
    if isinstance(cause, ModuleNotFoundError):
        return ConfigError(
            f"a worker of Ray cannot start: {_line(cause)}. Install the package with its "
            f"dependencies in the environment of all nodes{_in_logs()}"
        )
    if isinstance(cause, RuntimeEnvSetupError):
        return ConfigError(
            f"a worker of Ray cannot start: its runtime environment cannot be set up "
            f"({_last_line(cause)}){_in_logs()}"
        )
    if isinstance(cause, OutOfMemoryError):
        return Incomplete(f"{out_of_memory(str(cause)) or _line(cause)}. {_RESUME}")
    if isinstance(cause, (OutOfDiskError, ObjectStoreFullError)):
        return Incomplete(
            "a node has no space left for Ray's objects: its object store and its disk are "
            "full. Free space on the disk of Ray's temporary folder (/tmp/ray, or ray start "
            f"--temp-dir). {_RESUME}"
        )
    if isinstance(cause, MemoryError) or type(cause).__name__ == "ArrowMemoryError":
        return Incomplete(f"a worker has no memory left ({_line(cause)}); {LESS}. {_RESUME}")
    where = doing or ("a worker" if isinstance(error, RayError) else "the run")
    if type(cause).__name__ == "OutOfMemoryError":  # torch's, which this module need not load
        return Incomplete(
            f"{where} failed: a GPU has too little memory ({_line(cause)}). End other processes on "
            f"it, use a GPU with more memory, or lower score.max_batch_tokens. {_RESUME}"
        )
    if isinstance(cause, ActorDiedError):
        return _died(cause)
    if isinstance(cause, RayError):
        return Incomplete(f"Ray failed: {_line(cause)}{_in_logs()}. {_RESUME}")
    return Incomplete(f"{where} failed: {_line(cause)}{_in_logs()}. {_RESUME}")


def _died(error: ActorDiedError) -> RerankError:
    text = " ".join([str(error), *taken()])
    if error.actor_init_failed:
        reason = _last_line(error)
        if "AttributeError" in reason and "reranker_core" in reason:
            return ConfigError(f"{other_code('another folder')} ({reason})")
        kind = ConfigError if "ModuleNotFoundError" in reason else Incomplete
        return kind(f"a replica cannot start: {reason}{_in_logs()}. {_RESUME}")
    reason = out_of_memory(text) or exit_detail(text) or _line(error)
    return Incomplete(
        f"a process of the run ended unexpectedly: {_short(reason)}{_in_logs()}. {_RESUME}"
    )


def _innermost(error: BaseException) -> BaseException:
    """The error that a worker raised, without those that Ray made around it."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        wrapped = isinstance(error, RayError)
        inner = getattr(error, "cause", None) if isinstance(error, RayTaskError) else None
        inner = inner or (error.__cause__ if wrapped else None)
        if isinstance(inner, BaseException) and type(inner).__name__ != "SystemException":
            error = inner
    error.args = tuple(_without_advice(error.args))
    return error


def _without_advice(args: tuple[Any, ...]) -> Iterator[Any]:
    """The arguments of an error without what Ray Data has added: how often it tried, and settings
    of its own, which users of this package cannot make.
    """
    for arg in args:
        plain = _ADVICE.sub("", arg) if isinstance(arg, str) else arg
        if plain != "" or arg == "":
            yield plain


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return _short(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _short(lines[-1] if lines else type(error).__name__)


def _short(text: str) -> str:
    text = " ".join(text.split()).rstrip(". ")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


def _in_logs() -> str:
    folder = log_folder()
    return f" (more in {folder})" if folder else ""
