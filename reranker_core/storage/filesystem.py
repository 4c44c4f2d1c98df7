"""The filesystem behind a URL, and single files of it: what they are, and how they are read."""

from __future__ import annotations

import io
import os
import re
from typing import IO, Any

import fsspec
from fsspec.registry import known_implementations

from reranker_core.errors import ConfigError, brief
from reranker_core.storage import azure, gcs, s3
from reranker_core.storage.errors import patiently, trouble
from reranker_core.storage.timeout import seconds_for

_KEPT = 64 << 10  # bytes; what pyarrow reads first
# What fsspec needs for a scheme.
_PACKAGES = {
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("abfs", "abfss", "az"), "adlfs"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    **{"smb": "smbprotocol", "oci": "ocifs", "oss": "ossfs"},
}
_WITH_BUCKETS = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")
_ABSOLUTE = ("/", "~", "file:/", "local:/")


def open_filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of `url` and the path within it. Credentials come from the environment.

    Raises:
        ConfigError: fsspec does not know the scheme, its package or a setting is missing, or the
            bucket or the path is missing.
        StoreRefused, StoreUnavailable: as `patiently`, of stores to which fsspec connects at once.

    """
    if url.startswith("/") or "://" not in url:  # whatever it holds, such as `::`
        _refuse_single_slash(url)
        filesystem = fsspec.filesystem("file")
        path = url if url.startswith(_ABSOLUTE) else os.path.abspath(url)
        return filesystem, str(filesystem._strip_protocol(path))
    scheme, _, rest = url.partition("://")
    if scheme in ("file", "local") and not rest.startswith(("/", "~")):
        host, _, below = rest.partition("/")
        if host != "localhost":
            raise ConfigError(
                f"{url}: file:// is followed by a path that begins with a slash; found '{host}'. "
                f"Write file:///{rest}, or a path without file://"
            )
        url = f"{scheme}:///{below}"
    if scheme in _WITH_BUCKETS and rest[:1] in ("", "/"):
        bucket = "CONTAINER" if _PACKAGES.get(scheme) == "adlfs" else "BUCKET"
        raise ConfigError(
            f"{url}: the {bucket.lower()} is missing; expected {scheme}://{bucket}/FOLDER"
        )
    options = s3.options() if url.startswith(s3.SCHEMES) else {}
    filesystem, path = patiently(lambda: _opened(url, options), url)
    if hasattr(filesystem, "retries"):
        filesystem.retries = 1
    if "abfs" in filesystem.protocol:
        azure.set_up(filesystem, url)
    elif "gs" in filesystem.protocol:
        gcs.set_up()
    return filesystem, path


def _opened(url: str, options: dict[str, Any]) -> tuple[fsspec.AbstractFileSystem, str]:
    """What fsspec makes of a URL. Raises ConfigError, or the error of a connection."""
    try:
        filesystem, path = fsspec.url_to_fs(url, **options)
    except Exception as error:
        if not isinstance(error, ImportError | ValueError) and trouble(error) is not None:
            raise  # some connect at once
        raise ConfigError(_not_opened(url, error)) from None
    return filesystem, path


def _not_opened(url: str, error: BaseException) -> str:
    """Why there is no filesystem for a URL, as a message."""
    scheme, _, rest = url.partition("://")
    near = "s3" if scheme.lower() == "s3n" else scheme.lower()
    if scheme not in known_implementations and near in known_implementations:
        return f"{url}: '{scheme}' is not a known kind of store; did you mean {near}://{rest}?"
    schemes = re.findall(r"([\w+.-]+)://", url)
    package = next((_PACKAGES[each] for each in schemes if each in _PACKAGES), None)
    unknown = isinstance(error, ValueError) and "not known" in str(error)
    if package is not None and (
        isinstance(error, ImportError) or (unknown and scheme in _PACKAGES)
    ):
        cause = brief(error.__cause__ or error)
        return (
            f"{url}: the package {package} is missing or incomplete ({cause}). "
            f"Run 'pip install {package}' on all nodes"
        )
    if "hdfs" in schemes:
        remedy = (
            "hdfs:// needs Java and Hadoop's libhdfs on all nodes: set JAVA_HOME, HADOOP_HOME, "
            "ARROW_LIBHDFS_DIR and CLASSPATH (`hadoop classpath --glob`). Or use webhdfs://, which "
            "needs none of these"
        )
    elif unknown:
        remedy = (
            "Correct the URL. Stores with an S3 interface have s3:// URLs and AWS_ENDPOINT_URL; "
            "others may need a package of fsspec on all nodes"
        )
    elif package == "adlfs" and isinstance(error, ValueError):
        remedy = (
            "Set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and "
            "AZURE_STORAGE_ACCOUNT_KEY, on the nodes too"
        )
    elif isinstance(error, FileNotFoundError):
        remedy = "Correct the URL"
    elif isinstance(error, ImportError):
        remedy = "Correct the URL, or install this package on all nodes"
    else:
        variable = f"FSSPEC_{schemes[0].upper()}"
        remedy = f"Correct the URL, or set what this kind of store needs in {variable} (JSON)"
    return f"{url}: this kind of store cannot be opened ({brief(error)}). {remedy}"


def _refuse_single_slash(url: str) -> None:
    """Refuse `s3:/bucket/x`, which would be a folder `s3:` on this machine."""
    scheme, colon, rest = url.partition(":")
    remote = scheme.lower() in known_implementations and scheme.lower() not in ("file", "local")
    if colon and remote and rest.startswith("/") and not os.path.exists(f"{scheme}:"):
        raise ConfigError(
            f"{url}: a URL has two slashes after the scheme; did you mean "
            f"{scheme.lower()}://{rest.lstrip('/')}?"
        )


def open_to_read(filesystem: fsspec.AbstractFileSystem, path: str) -> IO[bytes] | RangeReader:
    """Open a file for reading. Requests to a remote store are retried.

    Raises:
        FileNotFoundError: it does not exist.
        StoreRefused, StoreUnavailable: as `patiently`.

    """
    if is_local(filesystem):
        return patiently(lambda: filesystem.open(path, "rb"), path)
    return RangeReader(filesystem, path)


def info_of(filesystem: fsspec.AbstractFileSystem, path: str) -> dict[str, Any]:
    """Size and ETag or time of a file, or of the target of a link. Raises FileNotFoundError."""
    if is_local(filesystem):
        found = patiently(lambda: os.stat(path), path)
        return {"name": path, "size": found.st_size, "type": "file", "mtime": found.st_mtime}
    what = full_url(filesystem, path)
    return patiently(lambda: filesystem.info(path), what, limit=seconds_for(0))


def read_range(
    filesystem: fsspec.AbstractFileSystem, path: str, start: int, stop: int, whole: bool = False
) -> bytes:
    """Bytes `start` to `stop` (exclusive) of a remote file, by one request, with retries.

    Args:
        filesystem: the filesystem.
        path: path within it.
        start: first byte.
        stop: where the range ends; unless it is `whole`, the file may end before.
        whole: whether fewer bytes count as a failed request.

    """

    def ask() -> bytes:
        data: bytes = filesystem.cat_file(path, start=start, end=stop)
        if len(data) > stop - start:  # of a store that does not know ranges: the whole file
            data = data[start:stop]
        if whole and len(data) < stop - start:
            raise ConnectionError(f"{len(data)} bytes were sent, expected {stop - start}")
        return data

    what = full_url(filesystem, path)
    return patiently(ask, what, limit=seconds_for(stop - start))


def is_local(filesystem: fsspec.AbstractFileSystem) -> bool:
    """Whether the paths of `filesystem` are paths of this machine."""
    protocol = filesystem.protocol
    return "file" in ((protocol,) if isinstance(protocol, str) else protocol)


def place(filesystem: fsspec.AbstractFileSystem) -> tuple[type, str]:
    """Equal for two filesystems if the same path names the same file in both. Their URLs may differ
    (`s3://` and `s3a://`; Azure's with and without the account).
    """
    options = str(sorted(filesystem.storage_options.items(), key=lambda item: item[0]))
    return type(filesystem), azure.account(filesystem) or options


def is_web(filesystem: fsspec.AbstractFileSystem) -> bool:
    """Whether `filesystem` is a web server: single files can be read, nothing listed or written."""
    return "http" in filesystem.protocol


def full_url(filesystem: fsspec.AbstractFileSystem, path: str) -> str:
    """The URL of a path, for messages: also with the host, which paths of some stores lack."""
    scheme, _, below = str(filesystem.unstrip_protocol(path)).partition("://")
    host = getattr(filesystem, "host", None) or filesystem.storage_options.get("host")
    has_host = not host or is_local(filesystem) or below.startswith(str(host))
    return f"{scheme}://{below}" if has_host else f"{scheme}://{host}/{below.lstrip('/')}"


def entity_tag(info: dict[str, Any]) -> str:
    """A value that changes when an object changes: its ETag, or on a disk its modification time."""
    for key in ("ETag", "etag", "md5Hash", "content_md5", "generation"):
        if info.get(key):
            return str(info[key]).strip('"')
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or ""
    return f"{info.get('size')}-{changed}"


class RangeReader(io.RawIOBase):
    """A remote file for pyarrow: each read is one range request, with retries. The last small read
    is kept: it often is the end of a file, with the footer, of which a part is read again.
    """

    def __init__(self, filesystem: fsspec.AbstractFileSystem, path: str) -> None:
        self._filesystem, self._path = filesystem, path
        self._size = info_of(filesystem, path)["size"]
        self._position = 0
        self._kept, self._kept_from = b"", 0

    def readable(self) -> bool:
        """Always true."""
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
        if self._kept_from <= start and stop <= self._kept_from + len(self._kept):
            data = self._kept[start - self._kept_from : stop - self._kept_from]
        else:
            data = read_range(self._filesystem, self._path, start, stop, whole=True)
            if len(data) <= _KEPT:
                self._kept, self._kept_from = data, start
        self._position += len(data)
        return data
