"""Downloading a checkpoint from a hub. Failed requests are retried for up to two minutes."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reranker_core.errors import ConfigError, Incomplete, RerankError

log = logging.getLogger(__name__)

PATIENCE = 120.0  # seconds for which a download is retried
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 20.0
_TOLD_AFTER = 3.0  # seconds of waiting
_BUSY = (408, 425, 429, 500, 502, 503, 504)
# Classes of the hub's client, by name; a connection that was refused is not among them.
_CUT_OFF = ("TimeoutException", "ReadError", "WriteError", "RemoteProtocolError", "TimeoutError")
_ELSE = "or download the model once and set model.path to its folder"


def download(path: str, revision: str | None, patterns: list[str], beside: str = "") -> Path:
    """Download a model to the local cache of the hub; its folder there.

    Args:
        path: the hub id.
        revision: branch, tag or commit; None for the main branch.
        patterns: glob patterns of the files to download.
        beside: what the folder contains in which `path` would be if it meant a folder; messages
            say this first.

    Raises:
        ConfigError: the hub has no such model or revision, does not permit the download, or cannot
            be reached.
        Incomplete: the hub is still busy after two minutes.

    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    name = f"model.path={path}" + (f" model.revision={revision}" if revision else "")
    absent = f"{name}: there is no such folder on this machine"
    absent += (
        f". {beside}. If you mean a folder, correct the path. If you mean a hub id:"
        if beside
        else ", and"
    )
    start, tries, told = time.monotonic(), 0, False
    while True:
        tries += 1
        try:
            return Path(snapshot_download(path, revision=revision, allow_patterns=patterns))
        except HFValidationError:
            raise ConfigError(
                f"{absent} this is not a hub id (owner/name). Set it to an existing folder or a "
                "hub id"
            ) from None
        except (HfHubHTTPError, OSError) as error:
            problem = _busy(error)
            if problem is None:
                raise _refusal(error, name, absent) from None
            wanted = _wanted_delay(error)
        waited = time.monotonic() - start
        delay = random.uniform(0, min(_LONGEST_DELAY, _FIRST_DELAY * 2**tries))
        delay = max(delay, wanted)
        if waited + delay > PATIENCE:
            raise Incomplete(
                f"{name}: {_hub()} {problem} ({tries} {'try' if tries == 1 else 'tries'} in "
                f"{waited:.0f} s). Run the same command again later, {_ELSE}"
            ) from None
        if not told and waited + delay >= _TOLD_AFTER:
            told = True
            log.warning(
                "%s: %s %s; the request is repeated for up to %g s", name, _hub(), problem, PATIENCE
            )
        time.sleep(delay)


def file_names(path: str, revision: str | None) -> tuple[str, ...]:
    """Names of all files of a model on the hub; empty if the hub does not give them. They are for
    messages only, so the request is not repeated.
    """
    from huggingface_hub import HfApi

    try:
        return tuple(HfApi().list_repo_files(path, revision=revision))
    except Exception:  # noqa: BLE001 - offline, or of any kind that `download` names
        return ()


def _busy(error: BaseException) -> str | None:
    """What keeps a hub from answering that may pass; None if it is nothing of that kind."""
    status = _status(error)
    if status == 429:
        return "limits the rate of requests (HTTP 429)"
    if status in _BUSY:
        return f"is busy (HTTP {status})"
    classes = [kind.__name__ for link in _chain(error) for kind in type(link).__mro__]
    if status is None and any(name in classes for name in _CUT_OFF):
        return "did not answer in time or closed the connection"
    return None


def _refusal(error: BaseException, name: str, absent: str) -> RerankError:
    """What an answer means that does not pass. Of the error's text nothing is repeated: addresses
    may hold credentials.
    """
    classes = [kind.__name__ for link in _chain(error) for kind in type(link).__mro__]
    status = _status(error)
    if "OfflineModeIsEnabled" in classes:
        return ConfigError(
            f"{absent} no such model in the local cache of the hub; HF_HUB_OFFLINE is set, so no "
            f"request is sent to the hub. Unset it, {_ELSE}"
        )
    if "GatedRepoError" in classes or status == 403:
        return ConfigError(
            f"{name}: {_hub()} does not permit the download (HTTP {status}). Ask for access on "
            "the model's page, and set HF_TOKEN to a token of the account that has access"
        )
    if "RevisionNotFoundError" in classes:
        return ConfigError(
            f"{name}: the model on {_hub()} has no such revision. Correct model.revision"
        )
    if status in (401, 404):
        return ConfigError(
            f"{absent} {_hub()} has no such model, or it is private (HTTP {status}). Correct the "
            "id; for a private model, set HF_TOKEN to a token with read access"
        )
    if isinstance(error, OSError) and error.errno is not None and status is None:
        return ConfigError(
            f"{name}: the download cannot be written to the local cache of the hub "
            f"({error.strerror}); set HF_HOME to a folder with space, {_ELSE}"
        )
    answer = f"answered HTTP {status}" if status else f"cannot be reached ({type(error).__name__})"
    return ConfigError(
        f"{absent} {_hub()} {answer}. Check the id, the network and HF_ENDPOINT, {_ELSE}"
    )


def _wanted_delay(error: BaseException) -> float:
    """Seconds that the hub asks to wait (Retry-After: seconds or a date), or 0."""
    for link in _chain(error):
        headers: Any = getattr(getattr(link, "response", None), "headers", None) or {}
        value = str(headers.get("Retry-After", "")).strip()
        if value.isdigit():
            return float(value)
        try:
            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            continue
    return 0.0


def _status(error: BaseException) -> int | None:
    for link in _chain(error):
        status = getattr(getattr(link, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _hub() -> str:
    from huggingface_hub import constants

    return f"the hub {urlsplit(constants.ENDPOINT).hostname}"
