"""The shards of `input.path`, and the skipped files."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.config import Config
from reranker_core.errors import ConfigError, InputError, brief
from reranker_core.input.entry import ShardFile, list_entry, overlap
from reranker_core.storage.errors import Trouble, failure, trouble
from reranker_core.storage.filesystem import is_local, open_filesystem, open_to_read

__all__ = ["Listing", "ShardFile", "list_shards", "open_shard"]


@dataclass(frozen=True)
class Listing(Sequence[ShardFile]):
    """All shards of a run.

    Attributes:
        shards: in the order of `input.path`; those of an entry sorted by name.
        passed_over: number of skipped names, by reason.
        snapshots: version of each table, by the name of its folder.

    """

    shards: tuple[ShardFile, ...]
    passed_over: dict[str, int]
    snapshots: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: Any) -> Any:
        return self.shards[index]


def list_shards(config: Config, begun: Mapping[str, int] | None = None) -> Listing:
    """All shards of `input.path`.

    In folders and glob patterns, files (or links to files) that end in .parquet, .parq or .pq are
    shards, except below names that begin with `_` or `.` that the pattern does not contain. A file
    that is given directly may have any name. For a Delta or Iceberg table, the live files of a
    snapshot are the shards.

    Args:
        config: `input` and `output.path`.
        begun: versions of tables to read instead of the newest ones, by name.

    Raises:
        InputError: an entry has no shards, a file occurs twice, a link has no target, or a folder
            is a table.
        ConfigError: the output is inside the input.

    """
    given = config.input.path
    entries = [given] if isinstance(given, str) else given
    if not entries:
        raise InputError("input.path=[]: the list is empty; give at least one file or folder")
    shards: list[ShardFile] = []
    passed_over: Counter[str] = Counter()
    snapshots: dict[str, int] = {}
    for entry, name in zip(entries, _numbered(map(_last_step, entries)), strict=True):
        version = config.input.snapshot
        found = list_entry(entry, config, (begun or {}).get(name) if version is None else version)
        shards.extend(found.shards)
        passed_over.update(found.passed_over)
        if found.version is not None:
            snapshots[name] = found.version
    if config.input.snapshot is not None and len(snapshots) != 1:
        raise ConfigError(
            f"input.snapshot={config.input.snapshot}: input.path has {len(snapshots)} tables; "
            "expected the folder of one Delta or Iceberg table"
        )
    _refuse_doubles(shards)
    _refuse_results(shards, config.output.path)
    # Entries of input.path may have shards of one name (day1/x.parquet, day2/x.parquet).
    names = _numbered(shard.name for shard in shards)
    distinct = (replace(shard, name=name) for shard, name in zip(shards, names, strict=True))
    return Listing(tuple(distinct), dict(passed_over), snapshots)


@contextmanager
def open_shard(url: str) -> Iterator[pq.ParquetFile]:
    """Open a shard. Errors of its content while it is read become an InputError.

    Raises:
        InputError: it was removed, or cannot be read as Parquet.
        StoreRefused, StoreUnavailable: the store or the disk reports an error.

    """
    filesystem, path = open_filesystem(url)
    try:
        with open_to_read(filesystem, path) as stream:
            yield parquet_file(stream, pre_buffer=not is_local(filesystem))
    except FileNotFoundError:
        raise InputError(
            f"{url}: was removed while the job ran. Restore it and run again, or remove it "
            "from input.path and start a new run"
        ) from None
    except (pa.ArrowException, KeyError, OSError, UnicodeDecodeError) as error:
        # pyarrow reports damaged pages as OSError without a number; others are the disk's.
        if isinstance(error, OSError) and error.errno is not None:
            raise failure(error, trouble(error) or Trouble.DISK, url) from None
        raise InputError(
            f"{url}: cannot be read: {brief(error)}. Committed parts are kept. Rewrite the "
            "shard, or remove it from input.path"
        ) from None


def parquet_file(stream: Any, pre_buffer: bool = False) -> pq.ParquetFile:
    """An open Parquet file. INT96 timestamps are read to the microsecond, because nanoseconds
    since 1970 end in the year 2262 and would wrap. Pages are compared with their checksums, if the
    writer stored some.
    """
    return pq.ParquetFile(
        stream,
        pre_buffer=pre_buffer,
        coerce_int96_timestamp_unit="us",
        page_checksum_verification=True,
    )


def _numbered(names: Iterable[str]) -> Iterator[str]:
    """The same names, with a number behind those that stand there again."""
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} #{seen[name]}"


def _last_step(entry: str) -> str:
    return posixpath.basename(entry.rstrip("/"))


def _refuse_doubles(shards: list[ShardFile]) -> None:
    seen: dict[str, str] = {}
    for shard in shards:
        key = shard.inode or shard.real or shard.url
        before = seen.get(key)
        seen[key] = shard.url
        if before == shard.url:
            raise InputError(
                f"input.path contains {shard.url} twice; its rows would be scored twice"
            )
        if before is not None:
            raise InputError(
                f"input.path contains {shard.real or shard.url} twice, as {before} and as "
                f"{shard.url}; its rows would be scored twice. "
                f"{'Remove the link, or list' if shard.real else 'List'} the files to read once"
            )


def _refuse_results(shards: list[ShardFile], output: str) -> None:
    """Links may lead from the input into the output."""
    filesystem, path = open_filesystem(output)
    inside = os.path.realpath(path).rstrip("/") + "/"
    for shard in shards:
        if is_local(filesystem) and shard.real.startswith(inside):
            raise overlap(shard.url, output)
