"""An entry of `input.path`: its filesystem, its fixed folder, and the glob pattern below this
folder.

The path of a file within its filesystem may not be enough to open it: HDFS, FTP and Azure paths
have no host. So the URL of a file is the text in the configuration plus the file's path below it.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import fsspec
from fsspec.registry import known_implementations

from reranker_core.errors import ConfigError, StoreUnavailable, brief
from reranker_core.input.pattern import is_pattern
from reranker_core.storage.filesystem import is_local, open_filesystem
from reranker_core.storage.tree import item_at

_WEB = ("http://", "https://")
_REACHED_WITHIN = 10.0  # seconds


@dataclass(frozen=True)
class Address:
    """The place that an entry of `input.path` names.

    Attributes:
        entry: the text in the configuration.
        filesystem: the filesystem for its scheme and host.
        path: path within the filesystem; for a glob pattern, the last folder before the first step
            with a glob character.
        steps: the steps of the glob pattern below `path`; empty if the entry is not a pattern.
        url: URL of `path`, with the scheme and the host in the configuration.

    """

    entry: str
    filesystem: fsspec.AbstractFileSystem
    path: str
    steps: tuple[str, ...]
    url: str

    def url_of(self, path: str) -> str:
        """The URL of `path`, a path below this address."""
        if is_local(self.filesystem):
            return path
        head, chain = _cut_chain(self.url)
        # Of a store, whose keys may have empty steps (a//b).
        below = path[len(self.path.rstrip("/")) :].removeprefix("/")
        return (f"{head}/{below}" if below else head) + chain


def address(entry: str) -> Address:
    """Split an entry into its fixed folder and the glob pattern below it.

    A name that exists is not a pattern, even if it contains glob characters.

    Raises:
        ConfigError: it is empty, its scheme is not known, its URL contains a signature, or it is
            not a single file of a web server.
        PermissionError, StoreRefused, StoreUnavailable: as `item_at`.
        StoreUnavailable: a web server cannot be reached. It is asked only once.

    """
    if not entry.strip():
        raise ConfigError("input.path is empty; set it to a file, a folder or a glob pattern")
    if entry.startswith(_WEB) and "?" in entry:
        raise ConfigError(
            "input.path: a URL with a query string (such as a presigned URL) is not supported, "
            "because its signature would be written to the output. Use the URL of the object and "
            "credentials from the environment"
        )
    if entry.startswith(_WEB):
        _check_web(entry)
    entry = _with_absolute_end(entry)
    filesystem, path = open_filesystem(entry)
    filesystem.invalidate_cache()
    steps = path.rstrip("/").split("/")
    fixed = len(steps)
    for index, step in enumerate(steps):
        literal = "/".join(steps[: index + 1])
        if is_pattern(step) and item_at(filesystem, literal) is None:
            fixed = index
            break
    pattern = tuple(steps[fixed:])
    head, chain = _cut_chain(entry)
    head = head[:-1] if head.endswith("://") else head.rstrip("/")
    base, url = path, head + chain
    if pattern:
        base = "/".join(steps[:fixed]) or filesystem.root_marker
        url = head.rsplit("/", len(pattern))[0] + chain
    return Address(entry, filesystem, base, pattern, base if is_local(filesystem) else url)


def no_web_folder(entry: str) -> ConfigError:
    """The error for an entry that is more than one file of a web server."""
    return ConfigError(
        f"input.path={entry}: folders of a web server cannot be listed. Give the URL of each file: "
        "input.path=[…/a.parquet, …/b.parquet]. Or copy the files to a disk or an object store"
    )


def _check_web(entry: str) -> None:
    url = urlsplit(entry)
    if url.path in ("", "/") or url.path.endswith("/") or is_pattern(url.path):
        raise no_web_folder(entry)
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((url.hostname or "", port), _REACHED_WITHIN).close()
    except (OSError, ValueError) as error:
        raise StoreUnavailable(
            f"input.path={entry}: {url.hostname} cannot be reached ({brief(error)}). Correct the "
            "URL, or copy the file to a disk or an object store that all nodes can read"
        ) from None


def _with_absolute_end(entry: str) -> str:
    """A chain that ends in a path of this machine, with this path made absolute: workers have
    another working directory.
    """
    head, link, last = entry.rpartition("::")
    if "://" not in head or "://" in last or last in known_implementations:
        return entry
    return f"{head}{link}{os.path.abspath(os.path.expanduser(last))}"


def _cut_chain(url: str) -> tuple[str, str]:
    """Split a chain such as `zip://a.parquet::s3://bucket/b.zip` behind the link with the path."""
    links = url.split("::")
    first = next((index for index, link in enumerate(links) if "/" in link), len(links) - 1)
    rest = links[first + 1 :]
    return "::".join(links[: first + 1]), "".join(f"::{link}" for link in rest)
