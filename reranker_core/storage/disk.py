"""Files on a disk, written all or nothing: a temporary file that gets its name when complete."""

from __future__ import annotations

import errno
import os
import uuid
from contextlib import suppress
from pathlib import Path

_PROBE = bytes(64 << 10)  # more than a full disk takes
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)


def write(target: Path, data: bytes, replace: bool) -> None:
    """Create the file, and its folders as needed; `replace` an existing one.

    Raises:
        FileExistsError: it exists, and `replace` is false.
        OSError: as the disk says it.

    """
    make_folder(target.parent)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, target)
        else:
            _link(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else a machine that loses power may forget the name
    finally:
        os.close(folder)


def check_writable(folder: Path) -> None:
    """Test whether the folder, or its nearest existing parent, can be written. Leaves no file.

    Permissions are not enough: even root cannot write to a read-only file system or to /proc.

    Raises:
        OSError: as the disk says it.

    """
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        os.lstat(folder)  # which a name that is too long does not survive
    existing = folder
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise OSError(errno.ENOTDIR, f"{existing} is not a folder", str(folder))
    probe = existing / f".batch-reranker-{uuid.uuid4().hex}.tmp"
    within = probe
    try:
        if existing != folder:
            make_folder(probe)
            within = probe / "probe"
        with open(within, "wb") as file:
            file.write(_PROBE)
            file.flush()
            os.fsync(file.fileno())
    finally:
        with suppress(OSError):
            within.unlink(missing_ok=True)
        with suppress(OSError):
            probe.rmdir()


def make_folder(folder: Path) -> None:
    """Create the folder and those above it. What forbids that is never an absent or present file.

    Raises:
        OSError: as the disk says it.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OSError(errno.ENOTDIR, "a file is where a folder is needed", str(folder)) from None
    except FileNotFoundError:  # such as below /proc, or behind a link to nothing
        raise OSError(errno.EINVAL, "no folder can be created here", str(folder)) from None


def _link(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():
            raise FileExistsError(target) from None
        os.replace(temporary, target)
