"""Files and objects behind one small interface: any URL that fsspec knows, or a local path.

A write is all or nothing: a reader sees the whole new object or none of it. On object stores that
is what a single PUT gives; on a local disk it is a temporary file that gets its name when complete.
"""

from __future__ import annotations

import base64
import copy
import errno
import io
import os
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import fsspec

from reranker_core.errors import ConfigError, brief
from reranker_core.storage.errors import PATIENCE, patiently

# Both botocore and s3fs (twice, when reading) would try again by themselves, and multiply. One
# request a read: s3fs would ask for the size first, and learn less when it is turned away.
_S3_OPTIONS = {
    "config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 1}},
    "max_concurrency": 1,
}
_IO_THREADS = 16
_MD5 = re.compile(r"[0-9a-f]{32}")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)

Item = TypeVar("Item")
Result = TypeVar("Result")


def open_filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of `url` and the path within it. Credentials come from the environment.

    Raises:
        ConfigError: fsspec does not know the scheme, or its package is not installed.

    """
    options: dict[str, Any] = _S3_OPTIONS if url.startswith(("s3://", "s3a://")) else {}
    try:
        filesystem, path = fsspec.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{url}: this kind of store cannot be opened ({brief(error)}); install fsspec's "
            "package for it, e.g. gcsfs for gs://, here and on the nodes, or mend the URL"
        ) from None
    if hasattr(filesystem, "retries"):
        filesystem.retries = 1
    return filesystem, path


def open_to_read(filesystem: fsspec.AbstractFileSystem, path: str) -> IO[bytes] | RangeReader:
    """A file to read from, with requests that are tried again where the store is remote."""
    if is_local(filesystem):
        return filesystem.open(path, "rb")
    return RangeReader(filesystem, path)


def info_of(filesystem: fsspec.AbstractFileSystem, path: str) -> dict[str, Any]:
    """What the store says of a file, of a link what is true of its target: size, etag or time.
    Raises FileNotFoundError.
    """
    if is_local(filesystem):
        found = os.stat(path)
        return {"name": path, "size": found.st_size, "type": "file", "mtime": found.st_mtime}
    return patiently(lambda: filesystem.info(path), str(filesystem.unstrip_protocol(path)))


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


class Listed(NamedTuple):
    """An object as a listing shows it; `md5` is None where the listing has no such checksum."""

    name: str
    size: int
    md5: str | None


class Store:
    """A folder of small objects addressed by relative names such as `_receipts/x.json`.

    Requests are repeated while the store's trouble may pass, `patience` seconds at most; see
    `store_errors.patiently` for what is raised then.
    """

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self.filesystem, path = open_filesystem(url)
        self.root = path.rstrip("/")
        self.url = self.root if is_local(self.filesystem) else url.rstrip("/")
        self._patience = patience

    def with_patience(self, seconds: float) -> Store:
        """The same store for who cannot wait as long."""
        store = copy.copy(self)
        store._patience = seconds
        return store

    def path(self, name: str) -> str:
        """The full path of `name` within the filesystem."""
        return f"{self.root}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the object `name`, all or nothing."""
        if is_local(self.filesystem):
            _write_local(Path(self.path(name)), data, replace=True)
        else:
            self._try(name, lambda: self._put(name, data))

    def create(self, name: str, data: bytes) -> bool:
        """Create the object `name`, all or nothing; False, and nothing changed, if it is there.

        One of several who try at once succeeds. A store whose reply was lost may answer False to
        the one who did create it. Stores without conditional writes are asked first, which leaves
        a moment in which two may succeed.
        """
        try:
            if is_local(self.filesystem):
                _write_local(Path(self.path(name)), data, replace=False)
            else:
                self._try(name, lambda: self._put(name, data, mode="create"))
        except FileExistsError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """The content of `name`. Raises FileNotFoundError."""
        content: bytes = self._try(name, lambda: self.filesystem.cat_file(self.path(name)))
        return content

    def exists(self, name: str) -> bool:
        """Whether the object `name` is there, past any cached listing."""
        self.filesystem.invalidate_cache()
        try:
            self._try(name, lambda: self.filesystem.info(self.path(name)))
        except FileNotFoundError:
            return False
        return True

    def delete(self, *names: str) -> None:
        """Remove the objects `names`, those of them that are there."""
        if not names:
            return
        paths = [self.path(name) for name in names]
        try:
            self._try(", ".join(names[:3]), lambda: self.filesystem.rm(paths))
        except FileNotFoundError:  # one of them; the others may still be there
            for name, path in zip(names, paths, strict=True):
                with suppress(FileNotFoundError):
                    self._try(name, partial(self.filesystem.rm_file, path))

    def list(self, folder: str = "") -> Iterator[Listed]:
        """All objects below `folder`, fresh from the store, in its order. Hidden ones, such as
        files that are being written, do not count.
        """
        infos = self._pages(folder) if "s3" in self.filesystem.protocol else self._found(folder)
        for info in infos:
            name = info["name"]
            if not name.rpartition("/")[2].startswith(".") and not name.endswith("/"):
                yield Listed(name[len(self.root) + 1 :], int(info["size"]), _md5(info))

    def _found(self, folder: str) -> Iterator[dict[str, Any]]:
        self.filesystem.invalidate_cache()
        start = self.path(folder).rstrip("/")
        with suppress(FileNotFoundError):
            yield from self._try(folder, lambda: self.filesystem.find(start, detail=True)).values()

    def _pages(self, folder: str) -> Iterator[dict[str, Any]]:
        """As `find`, a thousand at a time: s3fs would keep all of them, and a cache of them."""
        bucket, _, prefix = self.path(folder).rstrip("/").partition("/")
        more: dict[str, str] = {}
        while True:
            ask = partial(
                self.filesystem.call_s3,
                "list_objects_v2",
                Bucket=bucket,
                Prefix=f"{prefix}/" if prefix else "",
                **more,
            )
            page = self._try(folder, ask)
            for info in page.get("Contents", ()):
                yield {"name": f"{bucket}/{info['Key']}", "size": info["Size"], **info}
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _put(self, name: str, data: bytes, **mode: str) -> None:
        # One PUT whatever the size: a multipart upload that must not replace anything is racy.
        whole = {"chunksize": 5 << 30} if "s3" in self.filesystem.protocol else {}
        self.filesystem.pipe_file(self.path(name), data, **whole, **mode)

    def _try(self, name: str, operation: Callable[[], Any]) -> Any:
        return patiently(operation, f"{self.url}/{name}".rstrip("/"), self._patience)


class RangeReader(io.RawIOBase):
    """A remote file for pyarrow: each read is one request for just these bytes, tried again while
    the store's trouble may pass.
    """

    def __init__(self, filesystem: fsspec.AbstractFileSystem, path: str) -> None:
        self._filesystem, self._path = filesystem, path
        self._size = info_of(filesystem, path)["size"]
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` from the start, from here, or from the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        self._position = base[whence] + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, fewer only at the end."""
        left = self._size - self._position
        stop = self._position + (left if size is None or size < 0 else min(size, left))
        if stop <= self._position:
            return b""
        start = self._position
        data: bytes = self._try(
            lambda: self._filesystem.cat_file(self._path, start=start, end=stop)
        )
        self._position += len(data)
        return data

    def _try(self, operation: Callable[[], Any]) -> Any:
        return patiently(operation, str(self._filesystem.unstrip_protocol(self._path)))


def in_parallel(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = _IO_THREADS
) -> Iterator[Result]:
    """As `map`, several at a time, and never more than a few results ahead of who takes them."""
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _md5(info: dict[str, Any]) -> str | None:
    """What S3 calls ETag is the MD5 of an object that came in one PUT, unless a KMS encrypts it."""
    tag = str(info.get("ETag") or "").strip('"')
    if _MD5.fullmatch(tag):
        return tag
    return base64.b64decode(info["md5Hash"]).hex() if info.get("md5Hash") else None


def _write_local(target: Path, data: bytes, replace: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
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
