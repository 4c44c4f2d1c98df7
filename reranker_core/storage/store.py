"""Files and objects behind one small interface: any URL that fsspec knows, or a local path.

A write is atomic: a reader sees the whole new object or nothing. On object stores, a single PUT
does this. On a local disk, `disk.py` does it; in stores that only open files, `renaming.py`.
"""

from __future__ import annotations

import base64
import copy
import itertools
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from reranker_core.errors import ConfigError, StoreFull, StoreRefused
from reranker_core.errors.redaction import without_credentials
from reranker_core.storage import buckets, disk, renaming, s3
from reranker_core.storage.errors import PATIENCE, Trouble, failure, is_unknown, patiently
from reranker_core.storage.filesystem import entity_tag, is_local, is_web, open_filesystem
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.timeout import seconds_for

log = logging.getLogger(__name__)

_NEVER_WRITTEN = "_writable"
_MD5 = re.compile(r"[0-9a-f]{32}")


class Listed(NamedTuple):
    """An object in a listing; `md5` is None if the listing has no MD5. `tag` changes with the
    content.
    """

    name: str
    size: int
    md5: str | None
    tag: str = ""


class Store:
    """A folder of small objects addressed by relative names such as `_receipts/x.json`.

    Failed requests are retried for at most `patience` seconds; see `storage.errors.patiently` for
    the errors. A request that a remote store does not answer in time counts as failed.

    Raises:
        ConfigError: the URL cannot be opened, or is one of a web or FTP server.

    Attributes:
        url: the configured URL; on a disk, the absolute path.
        conditional: whether the store supports conditional writes; None until `create` and
            `settle_conditions` have tested it.

    """

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self.filesystem, path = open_filesystem(url)
        if is_web(self.filesystem):
            raise ConfigError(
                f"{url}: folders of a web server cannot be listed or written. Use a folder on a "
                "disk, or the URL of an object store, such as s3://BUCKET/FOLDER"
            )
        if self.filesystem.protocol == "ftp":
            raise ConfigError(
                f"{url}: FTP cannot write several files at the same time. Use a folder on a disk, "
                "or the URL of an object store, such as s3://BUCKET/FOLDER"
            )
        self.root = path.rstrip("/")
        self._local, self._s3 = is_local(self.filesystem), "s3" in self.filesystem.protocol
        self.url = self.root if self._local else url.rstrip("/")
        self._renames = not self._local and renaming.needs_renaming(self.filesystem)
        self.conditional: bool | None = False if self._renames else None
        self._deletes_many = self._s3
        self._patience = patience

    @property
    def shown(self) -> str:
        """The URL without credentials, for messages and records."""
        return str(without_credentials(self.url))

    def with_patience(self, seconds: float) -> Store:
        """The same store with a different retry time."""
        store = copy.copy(self)
        store._patience = seconds
        return store

    def below(self, folder: str) -> Store:
        """The folder `folder` of this store, as a store."""
        store = copy.copy(self)
        store.root, store.url = f"{self.root}/{folder}", f"{self.url}/{folder}"
        return store

    def path(self, name: str) -> str:
        """The full path of `name` within the filesystem."""
        return f"{self.root}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the object `name` atomically."""
        self._send(name, data)

    def create(self, name: str, data: bytes) -> bool:
        """Create the object `name` atomically. Returns False and changes nothing if it exists.

        Of several simultaneous callers, one succeeds. If a reply was lost, the caller that created
        the object may also get False. Without conditional writes, this checks
        first whether the object exists; then two callers can succeed at the same moment.
        """
        refused: Exception | None = None
        if self.conditional is not False:
            try:
                self._send(name, data, new=True)
                return True
            except (FileExistsError, StoreRefused) as error:
                refused = error
            known = self.conditional or self._local
            if known and isinstance(refused, StoreRefused):
                raise refused
            if known:
                return False
        try:
            if self.exists(name):
                return False
            self.write(name, data)
        except StoreRefused as error:  # so it was not the condition that was refused
            raise (refused if isinstance(refused, StoreRefused) else error) from None
        self.conditional = False
        return True

    def settle_conditions(self, name: str, data: bytes) -> bool:
        """Test whether conditional writes work. This process has written `data` to `name`."""
        if self.conditional is None:
            self.conditional = not self.create(name, data)
        return self.conditional

    def check_writable(self) -> None:
        """Check whether this output can be written, as far as possible without writing an object.

        Raises:
            StoreRefused: it cannot be written; the message begins with `output.path=`.
            StoreUnavailable: the store does not answer.

        """
        what = f"output.path={self.url} cannot be written"
        try:
            if self._local:
                patiently(lambda: disk.check_writable(Path(self.root)), what, self._patience)
                return
            if buckets.has_buckets(self.filesystem):
                buckets.begin_upload(
                    self.filesystem, self.path(_NEVER_WRITTEN), what, self._patience
                )
            if not self._s3:  # where a file may have the name of a folder
                with suppress(FileNotFoundError):
                    ask = partial(self.filesystem.info, self.root)
                    info = patiently(ask, what, self._patience, limit=seconds_for(0))
                    if info["type"] == "file":
                        raise StoreRefused(f"{what}: it is a file. Choose another folder")
        except StoreFull as full:
            raise StoreRefused(str(full)) from None
        except StoreRefused as refused:
            if not is_unknown(refused.answer):  # else: it does not know this request
                raise

    def read(self, name: str) -> bytes:
        """The content of `name`. Raises FileNotFoundError."""
        content: bytes = self._try(name, lambda: self.filesystem.cat_file(self.path(name)), None)
        return content

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` of `name`, without the last one. Raises FileNotFoundError."""
        path = self.path(name)
        content: bytes = self._try(
            name, lambda: self.filesystem.cat_file(path, start=start, end=end)
        )
        return content

    def exists(self, name: str) -> bool:
        """Whether the object `name` exists, without cached listings."""
        self.filesystem.invalidate_cache()
        try:
            self._try(name, lambda: self.filesystem.info(self.path(name)))
        except FileNotFoundError:
            return False
        return True

    def is_there(self) -> bool:
        """Whether the folder exists. In stores without folders: whether it contains objects."""
        return bool(self._try("", lambda: self.filesystem.exists(self.root)))

    def delete(self, *names: str) -> None:
        """Delete the objects `names`; missing ones are ignored."""
        left: Iterable[str] = names
        if self._deletes_many and len(names) > 1:
            left = self._delete_many(names)
        for _ in in_parallel(self._delete_one, left):
            pass

    def clear(self, but: str | None = None) -> None:
        """Delete all objects but those in the folder `but`; on a disk also the empty folders."""
        names = (listed.name for listed in self.list())
        self.delete(*(name for name in names if not (but and name.startswith(f"{but}/"))))
        if self._local and but is None:
            shutil.rmtree(self.root, ignore_errors=True)

    def remove_folder(self) -> None:
        """Remove the folder on a disk, if it is empty. Other stores have none of their own."""
        if self._local:
            with suppress(OSError):
                Path(self.root).rmdir()

    def list(self, folder: str = "") -> Iterator[Listed]:
        """All objects below `folder`, from a new listing, in the order of the store. Hidden files,
        such as files that are being written, are left out.
        """
        for info in self._pages(folder) if self._s3 else self._found(folder):
            name = info["name"]
            if not name.rpartition("/")[2].startswith(".") and not name.endswith("/"):
                relative, size = name[len(self.root) + 1 :], int(info["size"])
                yield Listed(relative, size, _md5(info), entity_tag(info))

    def _found(self, folder: str) -> Iterator[dict[str, Any]]:
        self.filesystem.invalidate_cache()
        start = self.path(folder).rstrip("/")
        with suppress(FileNotFoundError):
            ask = partial(self.filesystem.find, start, detail=True)
            found = self._try(folder, ask, None)
            if isinstance(found, dict):  # of a file, adlfs makes a list
                yield from found.values()

    def _pages(self, folder: str) -> Iterator[dict[str, Any]]:
        after: str | None = None
        while True:
            ask = partial(s3.page, self.filesystem, self.path(folder), after)
            infos, after = self._try(folder, ask)
            yield from infos
            if after is None:
                return

    def _send(self, name: str, data: bytes, new: bool = False) -> None:
        try:
            self._try(name, lambda: self._put(name, data, new), len(data))
        except FileNotFoundError as error:
            if self._local:
                raise
            what = f"output.path={self.url} cannot be written"
            raise failure(error, Trouble.BUCKET, what) from None

    def _put(self, name: str, data: bytes, new: bool = False) -> None:
        if self._local:
            disk.write(Path(self.path(name)), data, replace=not new)
        elif self._s3:
            s3.put(self.filesystem, self.path(name), data, new)
        elif self._renames:
            renaming.put(self.filesystem, self.path(name), data)
        else:
            mode = {"mode": "create"} if new else {}
            self.filesystem.pipe_file(self.path(name), data, **mode)

    def _delete_many(self, names: Iterable[str]) -> Iterable[str]:
        """Remove by a thousand; the names that are left for single requests."""
        left: set[str] = set()
        waiting = iter(names)
        while batch := tuple(itertools.islice(waiting, s3.DELETED_AT_ONCE)):
            paths = [self.path(name) for name in batch]
            try:
                ask = partial(s3.delete, self.filesystem, paths)
                kept = self._try(", ".join(batch[:3]), ask, None)
            except StoreRefused as refused:
                if refused.answer is None:
                    raise
                self._deletes_many = False
                log.info("%s: objects are deleted one per request: %s", self.shown, refused.answer)
                return [*left, *batch, *waiting]
            left.update(path[len(self.root) + 1 :] for path in kept)
        return left

    def _delete_one(self, name: str) -> None:
        remove = partial(s3.delete_one, self.filesystem) if self._s3 else self.filesystem.rm_file
        with suppress(FileNotFoundError):
            self._try(name, lambda: remove(self.path(name)))

    def _try(self, name: str, operation: Callable[[], Any], size: int | None = 0) -> Any:
        """As `patiently`; `size` is the number of bytes that are sent or received, if known."""
        what = f"{self.url}/{name}".rstrip("/")
        limit = None if self._local else seconds_for(size)
        try:
            return patiently(operation, what, self._patience, limit=limit)
        except StoreFull as full:
            raise StoreFull(
                f"output.path={self.url} is full: {full}. Then run the same command again to resume"
            ) from None
        except StoreRefused as refused:
            if not self._s3 or not (more := s3.advice(refused.answer, self.filesystem)):
                raise
            raise StoreRefused(f"{refused}{more}", refused.answer) from None


def _md5(info: dict[str, Any]) -> str | None:
    """What S3 calls ETag is the MD5 of an object that came in one PUT, unless a KMS encrypts it."""
    tag = str(info.get("ETag") or "").strip('"')
    if _MD5.fullmatch(tag):
        return tag
    return base64.b64decode(info["md5Hash"]).hex() if info.get("md5Hash") else None
