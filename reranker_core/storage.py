"""Files and objects behind one small interface: any URL that fsspec knows, or a local path.

A write is all or nothing: a reader sees the whole new object or none of it. On object stores that
is what a single PUT gives; on a local disk it is a temporary file that is renamed into place.
"""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec

from reranker_core.errors import ConfigError, brief

# s3fs retries by itself; botocore's own retries inside each of those would multiply with them.
_S3_OPTIONS = {"config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 1}}}
_IO_THREADS = 16


def open_filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of `url` and the path within it. Credentials come from the environment.

    Raises:
        ConfigError: fsspec does not know the scheme, or its package is not installed.

    """
    options = _S3_OPTIONS if url.startswith(("s3://", "s3a://")) else {}
    try:
        filesystem, path = fsspec.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{url}: this kind of store cannot be opened ({brief(error)}); install fsspec's "
            "package for it, e.g. gcsfs for gs://, here and on the nodes, or mend the URL"
        ) from None
    return filesystem, path


def is_local(filesystem: fsspec.AbstractFileSystem) -> bool:
    """Whether the paths of `filesystem` are paths of this machine."""
    protocol = filesystem.protocol
    return "file" in ((protocol,) if isinstance(protocol, str) else protocol)


def entity_tag(info: dict[str, Any]) -> str:
    """What changes when an object changes: its etag, or on a disk its time of modification."""
    for key in ("ETag", "etag", "md5Hash", "content_md5", "generation"):
        if info.get(key):
            return str(info[key]).strip('"')
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or ""
    return f"{info.get('size')}-{changed}"


class Store:
    """A folder of small objects addressed by relative names such as `_receipts/x.json`."""

    def __init__(self, url: str) -> None:
        self.filesystem, path = open_filesystem(url)
        self.root = path.rstrip("/")
        self.url = self.root if is_local(self.filesystem) else url.rstrip("/")

    def path(self, name: str) -> str:
        """The full path of `name` within the filesystem."""
        return f"{self.root}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the object `name`, all or nothing."""
        if is_local(self.filesystem):
            _write_local(Path(self.path(name)), data)
        else:
            self.filesystem.pipe_file(self.path(name), data)

    def read(self, name: str) -> bytes:
        """The content of `name`. Raises FileNotFoundError."""
        content: bytes = self.filesystem.cat_file(self.path(name))
        return content

    def read_many(self, names: list[str]) -> list[bytes]:
        """The contents of all `names`, in order, several at a time."""
        with ThreadPoolExecutor(_IO_THREADS) as threads:
            return list(threads.map(self.read, names))

    def exists(self, name: str) -> bool:
        """Whether the object `name` is there, past any cached listing."""
        self.filesystem.invalidate_cache()
        try:
            self.filesystem.info(self.path(name))
        except FileNotFoundError:
            return False
        return True

    def delete(self, name: str) -> None:
        """Remove the object `name` if it is there."""
        if self.exists(name):
            self.filesystem.rm_file(self.path(name))

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Name -> bytes of all objects below `folder`, fresh from the store. Hidden ones, such as
        files that are being written, do not count.
        """
        self.filesystem.invalidate_cache()
        start = self.path(folder).rstrip("/")
        try:
            found = self.filesystem.find(start, detail=True)
        except FileNotFoundError:
            return {}
        return {
            path[len(self.root) + 1 :]: int(info["size"])
            for path, info in found.items()
            if not path.rpartition("/")[2].startswith(".")
        }


def _write_local(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
