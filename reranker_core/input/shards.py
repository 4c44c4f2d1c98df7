"""Finding the shard files that `input.path` names."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.utils import glob_translate

from reranker_core.config import Config
from reranker_core.errors import ConfigError, InputError, RerankError, brief
from reranker_core.storage.errors import patiently
from reranker_core.storage.store import Store, entity_tag, is_local, open_filesystem, open_to_read

_SUFFIXES = (".parquet", ".parq", ".pq")
_MAGIC = "*?["


@dataclass(frozen=True)
class ShardFile:
    """One input file. `name` is its path below the folder or glob that `input.path` names, so
    that it stays the same when the whole input is moved.
    """

    url: str
    name: str
    size: int
    etag: str


def list_shards(config: Config) -> list[ShardFile]:
    """All shards of `input.path`, each entry's sorted by name.

    In folders, files that end in .parquet, .parq or .pq count, except below names that start with
    `_` or `.`. A file that is named itself may have any ending.

    Raises:
        InputError: an entry matches nothing, or a file is named twice.
        ConfigError: the output lies inside the input.

    """
    entries = config.input.path
    shards: list[ShardFile] = []
    for entry in [entries] if isinstance(entries, str) else entries:
        found = _list_entry(entry)
        if not found:
            raise InputError(
                f"input.path={entry}: no shards there; expected a Parquet file, a folder with "
                f"files ending in {', '.join(_SUFFIXES)}, or a glob that matches some"
            )
        _refuse_overlap(entry, config.output.path)
        shards.extend(found)
    if not shards:
        raise InputError("input.path=[]: the list is empty; name at least one file or folder")
    seen: set[str] = set()
    for shard in shards:
        if shard.url in seen:
            raise InputError(f"input.path names {shard.url} twice; its rows would be scored twice")
        seen.add(shard.url)
    return list(_distinct_names(shards))


@contextmanager
def open_shard(url: str) -> Iterator[pq.ParquetFile]:
    """A shard, opened; what is wrong with its content while it is read becomes an InputError.

    Raises:
        InputError: it has disappeared, or cannot be read as Parquet.

    """
    filesystem, path = open_filesystem(url)
    try:
        with open_to_read(filesystem, path) as stream:
            yield pq.ParquetFile(stream, pre_buffer=not is_local(filesystem))
    except FileNotFoundError:
        raise InputError(
            f"{url}: has disappeared while the job ran. Put it back and run again, or take it out "
            "of input.path and begin a new run"
        ) from None
    except (pa.ArrowException, KeyError, OSError) as error:
        # pyarrow reports damaged pages as OSError without a number; others are the store's.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(
            f"{url}: cannot be read: {brief(error)}. What is committed stays; write the shard "
            "again, or take it out of input.path"
        ) from None


def _distinct_names(shards: list[ShardFile]) -> Iterator[ShardFile]:
    # Entries of input.path may have shards of one name (day1/x.parquet, day2/x.parquet).
    seen: Counter[str] = Counter()
    for shard in shards:
        seen[shard.name] += 1
        count = seen[shard.name]
        yield shard if count == 1 else replace(shard, name=f"{shard.name} #{count}")


def _list_entry(entry: str) -> list[ShardFile]:
    if entry.startswith(("http://", "https://")) and "?" in entry:
        raise ConfigError(
            "input.path: a URL with a query, such as a presigned one, would carry its signature "
            "into receipts and names; use the store's own URL and credentials from the environment"
        )
    filesystem, path = open_filesystem(entry)
    try:
        base, infos = patiently(lambda: _find(filesystem, path), f"input.path={entry}")
        if not infos:
            _ask_for_bucket(filesystem, path)
    except RerankError:
        raise
    except Exception as error:  # noqa: BLE001 - each store has its own
        raise InputError(f"input.path={entry}: cannot be listed: {brief(error)}") from None
    return [
        ShardFile(
            url=_url(filesystem, info["name"]),
            name=info["name"][len(base) :].lstrip("/"),
            size=int(info["size"]),
            etag=entity_tag(info),
        )
        for info in sorted(infos, key=lambda info: str(info["name"]))
        if info["type"] == "file"
    ]


def _find(filesystem: fsspec.AbstractFileSystem, path: str) -> tuple[str, list[dict[str, Any]]]:
    """What names are relative to, and what the store says of each file."""
    filesystem.invalidate_cache()
    if any(sign in path for sign in _MAGIC) and not filesystem.exists(path):
        return _fixed_prefix(path), list(filesystem.glob(path, detail=True).values())
    if filesystem.isdir(path):
        base = path.rstrip("/")
        files = filesystem.find(path, detail=True).values()
        return base, [info for info in files if _is_shard(info["name"][len(base) :])]
    if filesystem.exists(path):
        return posixpath.dirname(path), [filesystem.info(path)]
    return path, []


def _ask_for_bucket(filesystem: fsspec.AbstractFileSystem, path: str) -> None:
    """Raise StoreRefused if there is no such bucket, which s3fs takes for an empty one."""
    if "s3" in filesystem.protocol:
        next(Store(f"s3://{path.partition('/')[0]}").list(), None)


def _is_shard(relative: str) -> bool:
    hidden = any(step.startswith(("_", ".")) for step in relative.split("/") if step)
    return relative.lower().endswith(_SUFFIXES) and not hidden


def _fixed_prefix(pattern: str) -> str:
    first = min(pattern.index(sign) for sign in _MAGIC if sign in pattern)
    return posixpath.dirname(pattern[:first])


def _url(filesystem: fsspec.AbstractFileSystem, path: str) -> str:
    return path if is_local(filesystem) else str(filesystem.unstrip_protocol(path))


def _refuse_overlap(entry: str, output: str) -> None:
    input_fs, input_path = open_filesystem(entry)
    output_fs, output_path = open_filesystem(output)
    if type(input_fs) is not type(output_fs):
        return
    target = output_path.rstrip("/") + "/"
    if any(sign in input_path for sign in _MAGIC):
        holds = _fixed_prefix(input_path)
        inside = re.match(glob_translate(input_path), f"{target}x.parquet") is not None
    else:
        holds = input_path
        inside = target.startswith(input_path.rstrip("/") + "/") and input_fs.isdir(input_path)
    if inside or (holds.rstrip("/") + "/").startswith(target):
        raise ConfigError(
            f"output.path={output} and input.path={entry} overlap, so results would be read as "
            "input; give the output a folder of its own"
        )
