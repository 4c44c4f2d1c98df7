"""An entry of `input.path`: its filesystem, its fixed folder, and the glob pattern below this
folder.

The path of a file within its filesystem may not be enough to open it: HDFS, FTP and Azure paths
have no host. So the URL of a file is the text in the configuration plus the file's path below it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import fsspec
from fsspec.registry import known_implementations

from reranker_core.errors import ConfigError
from reranker_core.input.pattern import is_pattern
from reranker_core.storage.filesystem import is_local, open_filesystem
from reranker_core.storage.tree import item_at


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
        ConfigError: it is empty, its scheme is not known, or its URL contains a signature.
        PermissionError, StoreRefused, StoreUnavailable: as `item_at`.

    """
    if not entry.strip():
        raise ConfigError("input.path is empty; set it to a file, a folder or a glob pattern")
    if entry.startswith(("http://", "https://")) and "?" in entry:
        raise ConfigError(
            "input.path: a URL with a query string (such as a presigned URL) is not supported, "
            "because its signature would be written to the output. Use the URL of the object and "
            "credentials from the environment"
        )
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
