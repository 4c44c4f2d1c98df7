"""What lies below a folder of a store. Links on disks are followed: what is told of a link, such as
its size and time, is told of its target.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar

import fsspec

from reranker_core.errors import ConfigError
from reranker_core.storage.errors import patiently
from reranker_core.storage.filesystem import full_url, is_local, is_web
from reranker_core.storage.timeout import seconds_for

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Item:
    """A file or a folder.

    Attributes:
        path: where it was found, within its filesystem.
        real: the same without links.
        kind: `link` leads to nothing, or to itself; `other` is a pipe, a socket or a device.
        info: what the store says of a file: size, and etag or time.

    """

    path: str
    real: str
    kind: Literal["file", "folder", "link", "other"]
    info: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """The last step of the path."""
        return self.path.rpartition("/")[2]


def item_at(filesystem: fsspec.AbstractFileSystem, path: str) -> Item | None:
    """What `path` names, or None if nothing is there. A link to nothing is an item.

    Raises:
        PermissionError: a folder above it may not be entered.
        StoreRefused, StoreUnavailable: as `patiently`.

    """
    if is_local(filesystem):
        if not os.path.lexists(path):
            _reachable(path)
            return None
        return _local_item(path, os.path.realpath(path))
    try:
        return _asked(filesystem, path, partial(_remote_item, filesystem, path))
    except FileNotFoundError:  # as a store's answer
        return None


def is_file(filesystem: fsspec.AbstractFileSystem, path: str) -> bool:
    """Whether `path` names a file, or a link to one.

    Raises:
        StoreRefused, StoreUnavailable: as `patiently`.

    """
    if is_local(filesystem):
        return os.path.isfile(path)
    item = item_at(filesystem, path)
    return item is not None and item.kind == "file"


def children(filesystem: fsspec.AbstractFileSystem, folder: Item) -> list[Item]:
    """Files and folders directly in `folder`, hidden ones too.

    Raises:
        OSError: it may not be listed.
        ConfigError: names of objects in it have an empty step.
        StoreRefused, StoreUnavailable: as `patiently`.

    """
    if is_local(filesystem):
        found = []
        with os.scandir(folder.path) as entries:
            for entry in entries:
                real = f"{folder.real.rstrip('/')}/{entry.name}"
                real = os.path.realpath(real) if entry.is_symlink() else real
                item = _local_item(f"{folder.path.rstrip('/')}/{entry.name}", real)
                found += [] if item is None else [item]
        return found
    infos = _asked(filesystem, folder.path, lambda: filesystem.ls(folder.path, detail=True))
    own = folder.path.strip("/")
    if any(info["type"] == "directory" and info["name"].strip("/") == own for info in infos):
        url = filesystem.unstrip_protocol(folder.path.rstrip("/"))
        raise ConfigError(
            f"{url}: contains objects whose names begin with {url}//. Glob patterns cannot find "
            f"them. Set input.path={url}, which reads all files below, or rename the objects"
        )
    # A store without folders may have an empty object of the folder's own name; Azure lists a
    # folder twice that is an object, too.
    named = {info["name"].rstrip("/"): info for info in infos}
    return [_of(info) for name, info in named.items() if name.strip("/") != own]


def below(filesystem: fsspec.AbstractFileSystem, folder: Item) -> list[Item]:
    """All files below a folder of a remote store, in as few requests as the store allows.

    Raises:
        StoreRefused, StoreUnavailable: as `patiently`.

    """
    infos = _asked(filesystem, folder.path, lambda: filesystem.find(folder.path, detail=True))
    items = (_of(info) for info in infos.values() if not info["name"].endswith("/"))
    return [item for item in items if item.kind == "file"]


def _asked(
    filesystem: fsspec.AbstractFileSystem, path: str, question: Callable[[], Result]
) -> Result:
    what = full_url(filesystem, path)
    return patiently(question, what, limit=seconds_for(None))


def _remote_item(filesystem: fsspec.AbstractFileSystem, path: str) -> Item | None:
    # There, a file may have the name of a folder. Of other stores, these calls hide all errors.
    if "s3" in filesystem.protocol or is_web(filesystem):
        if filesystem.isdir(path):
            return Item(path.rstrip("/"), path.rstrip("/"), "folder")
        if not filesystem.exists(path):
            return None
    try:
        found = _of(filesystem.info(path))
    except FileNotFoundError:
        return None
    if found.kind == "folder":
        return Item(path.rstrip("/"), path.rstrip("/"), "folder")
    return found


def _of(info: dict[str, Any]) -> Item:
    name = info["name"].rstrip("/")
    kind: Literal["file", "folder"] = "folder" if info["type"] == "directory" else "file"
    return Item(name, name, kind, info)


def _local_item(path: str, real: str) -> Item | None:
    try:
        found = os.stat(path)
    except OSError:
        # Followed it leads nowhere. If it is no link, it has gone since the folder was listed.
        return Item(path, real, "link") if os.path.islink(path) else None
    if stat.S_ISDIR(found.st_mode):
        return Item(path, real, "folder")
    if stat.S_ISREG(found.st_mode):
        info = {"name": path, "size": found.st_size, "type": "file", "mtime": found.st_mtime}
        if found.st_nlink > 1:
            info["inode"] = f"{found.st_dev}:{found.st_ino}"
        return Item(path, real, "file", info)
    return Item(path, real, "other")


def _reachable(path: str) -> None:
    """Raise PermissionError where that, and not absence, is why nothing was seen."""
    try:
        os.lstat(path)
    except PermissionError:
        raise
    except OSError:
        return
