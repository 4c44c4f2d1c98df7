"""A folder in a store, copied to the disk of this machine once, for all its processes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from reranker_core.errors import ConfigError, Incomplete
from reranker_core.storage.filesystem import is_local
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Listed, Store

log = logging.getLogger(__name__)

_CHUNK = 32 << 20  # bytes of a request
_REQUESTS = 4  # at a time


def local_copy(url: str, patterns: Sequence[str]) -> Path:
    """A folder of this machine with the files below `url` whose names fit one of the patterns.

    The copy is in the folder `batch-reranker` of the user's cache (`XDG_CACHE_HOME`, else
    `~/.cache`). Its name follows from the names, sizes and ETags of the files. So a new version
    gets a new copy, and another call or process finds the old one, whole or in part: what was
    copied is not copied again. Other processes wait until the copy is complete.

    Raises:
        ConfigError: there is no such file, the store refuses the requests, or the disk cannot be
            written.
        Incomplete: the store does not answer, or the files were changed while they were copied.

    """
    store = Store(url)
    if is_local(store.filesystem):
        return Path(store.root)
    files = _wanted(store, patterns)
    if not files:
        held = ", ".join(file_names(url)[:5])
        raise ConfigError(
            f"{url} contains no files of the kinds {', '.join(patterns)}"
            f"{f', only {held}' if held else ''}. Correct the URL, or copy the files to it"
        )
    state = json.dumps([store.url, *files]).encode()
    folder = cache_folder("copies") / hashlib.sha256(state).hexdigest()[:32]
    with _writing(folder, url), _alone(folder):
        size = sum(file.size for file in files)
        if any(not _is_there(file, folder) for file in files):
            log.info(
                "copying %d files (%.1f MB) of %s to %s",
                *(len(files), size / 1e6, store.shown, folder),
            )
            for file in files:
                _copy(store, file, folder)
            if _wanted(store, patterns) != files:
                shutil.rmtree(folder)
                raise Incomplete(
                    f"{url} was changed while its files were copied. Run the same command again "
                    "when it does not change any more"
                )
    return folder


def file_names(url: str) -> tuple[str, ...]:
    """Names of all files below `url`."""
    return tuple(sorted(file.name for file in Store(url).list()))


def cache_folder(kind: str) -> Path:
    """Where this machine keeps what can be made again: in the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "batch-reranker" / kind


def _wanted(store: Store, patterns: Sequence[str]) -> list[Listed]:
    found = [f for f in store.list() if any(fnmatch(f.name, pattern) for pattern in patterns)]
    outside = [file.name for file in found if ".." in PurePosixPath(file.name).parts]
    if outside:
        raise ConfigError(f"{store.url} holds {outside[0]}, a name outside its folder. Remove it")
    return sorted(found)


def _is_there(file: Listed, folder: Path) -> bool:
    path = folder / file.name
    return path.is_file() and path.stat().st_size == file.size


def _copy(store: Store, file: Listed, folder: Path) -> None:
    """Append to what an earlier copy has left; the file gets its name when it is complete."""
    if _is_there(file, folder):
        return
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.with_name(f".{path.name}.part")
    with open(begun, "ab") as part:
        if part.tell() > file.size:
            part.truncate(0)
        starts = range(part.tell(), file.size, _CHUNK)
        ends = (min(start + _CHUNK, file.size) for start in starts)
        ranges = zip(starts, ends, strict=True)
        for data in in_parallel(lambda at: store.read_range(file.name, *at), ranges, _REQUESTS):
            part.write(data)
        part.flush()
        os.fsync(part.fileno())
        size = part.tell()
    if size != file.size:
        begun.unlink()
        raise Incomplete(
            f"{store.url}/{file.name}: {size} bytes arrived, expected {file.size}. Run the same "
            "command again"
        )
    os.replace(begun, path)


@contextmanager
def _writing(folder: Path, url: str) -> Iterator[None]:
    """Errors of this machine's disk, in our words."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ConfigError(
            f"the copy of {url} cannot be written to {folder} ({error.strerror}). Set "
            "XDG_CACHE_HOME to a folder with enough space, on all nodes"
        ) from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process that holds it."""
    with open(folder.with_name(f"{folder.name}.lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process copies files to %s; waiting for it", folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
