"""SHA-256 of files, and of the files of a model by kind. Large files are read once per machine, not
once per process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

LATER = ("prompt", "code")  # kinds of digests that earlier versions did not have everywhere
_CHUNK = 16 << 20
_LENGTH = 64  # characters of a digest
_LARGE = 64 << 20  # bytes; smaller files take less time to read than to look up


def digest_of(paths: Iterable[Path]) -> str:
    """One SHA-256, as 64 hex digits, of the names and contents of files. A missing file changes
    it.
    """
    paths = [*paths]
    key = _state(paths)
    if key is None:
        return _read(paths)
    try:
        with open(_folder() / key, "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # others wait for the one that reads
            file.seek(0)
            found = file.read()
            if len(found) != _LENGTH:  # new, or its writer was killed
                file.truncate(0)
                found = _read(paths)
                file.write(found)
            return found
    except OSError:  # no place for it, or somebody else's
        return _read(paths)


def as_recorded(digests: dict[str, str], before: dict[str, str]) -> dict[str, str]:
    """Digests without the kinds that earlier versions did not record, if `before` lacks them."""
    return {kind: value for kind, value in digests.items() if kind not in LATER or kind in before}


def short_digest(digests: dict[str, str]) -> str:
    """The value of `model.digest` for `Checkpoint.digests`: `sha256:` and 32 hex digits."""
    whole = json.dumps(digests, sort_keys=True).encode()
    return f"sha256:{hashlib.sha256(whole).hexdigest()[:32]}"


def _state(paths: Sequence[Path]) -> str | None:
    """What changes when a file changes; None for small or absent files."""
    try:
        states = [(str(path.resolve()), path.stat()) for path in paths]
    except OSError:
        return None
    if sum(state.st_size for _, state in states) < _LARGE:
        return None
    # The kernel sets the time of the last change; no program can set it back.
    facts = [
        (name, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in states
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _folder() -> Path:
    """For this user only: what others wrote is not believed.

    Raises:
        OSError: there is such a folder of another user.

    """
    folder = Path(tempfile.gettempdir()) / f"batch-reranker-digests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.stat(follow_symlinks=False)
    if state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise PermissionError(f"{folder} belongs to another user, or other users have access to it")
    return folder


def _read(paths: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{path.name}\0".encode())
        try:
            with open(path, "rb") as file:
                while chunk := file.read(_CHUNK):
                    total.update(chunk)
        except FileNotFoundError:
            total.update(b"absent\0")  # preflight names it
    return total.hexdigest()
