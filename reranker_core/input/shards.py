"""The shard files that `input.path` names, and what was passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.config import Config
from reranker_core.errors import ConfigError, InputError, RerankError, brief
from reranker_core.input.absence import not_a_file, nothing_found, nothing_there
from reranker_core.input.address import Address, address
from reranker_core.input.listing import Found, find_shards
from reranker_core.input.pattern import Pattern
from reranker_core.input.tables.marker import Table, table_above
from reranker_core.storage.store import Store, entity_tag, is_local, open_filesystem, open_to_read
from reranker_core.storage.tree import Item, item_at


@dataclass(frozen=True)
class ShardFile:
    """One input file.

    Attributes:
        url: what opens it, on every node.
        name: its path below the folder or glob that `input.path` names, so that it stays the same
            when the whole input is moved.
        size: bytes; of a link, those of its target.
        etag: what changes when the file changes.
        real: the file itself, where `url` goes through links.

    """

    url: str
    name: str
    size: int
    etag: str
    real: str = field(default="", compare=False)


@dataclass(frozen=True)
class Listing(Sequence[ShardFile]):
    """All shards of a run.

    Attributes:
        shards: in the order of `input.path`; those of an entry sorted by name.
        passed_over: how many names that `input.path` means are not read, by reason.

    """

    shards: tuple[ShardFile, ...]
    passed_over: dict[str, int]

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: Any) -> Any:
        return self.shards[index]


def list_shards(config: Config) -> Listing:
    """All shards of `input.path`.

    In folders and globs, files that end in .parquet, .parq or .pq count, and links to such; not
    below names that begin with `_` or `.`, unless the glob names them. A file that is named itself
    may have any name.

    Raises:
        InputError: an entry has no shards, a file is named twice, a link leads to nothing, or a
            folder is a table.
        ConfigError: the output lies inside the input.

    """
    entries = config.input.path
    shards: list[ShardFile] = []
    passed_over: Counter[str] = Counter()
    for entry in [entries] if isinstance(entries, str) else entries:
        found, passed = _list_entry(entry, config.output.path)
        shards.extend(found)
        passed_over.update(passed)
    if not shards:
        raise InputError("input.path=[]: the list is empty; name at least one file or folder")
    _refuse_doubles(shards)
    _refuse_results(shards, config.output.path)
    return Listing(tuple(_distinct_names(shards)), dict(passed_over))


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


def _list_entry(entry: str, output: str) -> tuple[list[ShardFile], Counter[str]]:
    try:
        where = address(entry)
        item = item_at(where.filesystem, where.path)
        if item is None:
            _ask_for_bucket(where)
            raise InputError(nothing_there(where))
        if item.kind in ("link", "other"):
            raise InputError(not_a_file(where, item))
        if item.kind == "file" and where.steps:
            raise InputError(nothing_there(where))
        _refuse_overlap(where, item, output)
        if item.kind == "file":
            return [_shard(where, item, os.path.dirname(where.path))], Counter()
        found = _search(where, item)
    except PermissionError as error:
        raise InputError(
            f"input.path={entry}: permission denied: {error.filename or brief(error)}; let the "
            "user that runs the job read it"
        ) from None
    except RerankError:
        raise
    except Exception as error:  # noqa: BLE001 - each store has its own
        raise InputError(f"input.path={entry}: cannot be listed: {brief(error)}") from None
    base = where.path.rstrip("/")
    items = sorted(found.shards, key=lambda item: item.path)
    return [_shard(where, item, base) for item in items], found.passed_over


def _search(where: Address, folder: Item) -> Found:
    table = table_above(where.filesystem, folder)
    if table is not None:
        raise InputError(_is_table(where, table))
    found = find_shards(where.filesystem, folder, Pattern(where.steps))
    if found.tables:
        raise InputError(_is_table(where, min(found.tables)))
    if not found.shards:
        _ask_for_bucket(where)
        raise InputError(nothing_found(where, folder, found))
    return found


def _is_table(where: Address, table: Table) -> str:
    return (
        f"input.path={where.entry}: {table}; its files may be replaced, deleted or not committed, "
        "so they are not read as plain Parquet. Export the rows of one version to a folder of its "
        "own, or list the files of that version: input.path=[…, …]"
    )


def _shard(where: Address, item: Item, base: str) -> ShardFile:
    return ShardFile(
        url=where.url_of(item.path),
        name=item.path[len(base) :].lstrip("/"),
        size=int(item.info["size"]),
        etag=entity_tag(item.info),
        real=item.real if is_local(where.filesystem) else "",
    )


def _distinct_names(shards: list[ShardFile]) -> Iterator[ShardFile]:
    # Entries of input.path may have shards of one name (day1/x.parquet, day2/x.parquet).
    seen: Counter[str] = Counter()
    for shard in shards:
        seen[shard.name] += 1
        count = seen[shard.name]
        yield shard if count == 1 else replace(shard, name=f"{shard.name} #{count}")


def _refuse_doubles(shards: list[ShardFile]) -> None:
    seen: dict[str, str] = {}
    for shard in shards:
        key = shard.real or shard.url
        before = seen.get(key)
        seen[key] = shard.url
        if before == shard.url:
            raise InputError(f"input.path names {shard.url} twice; its rows would be scored twice")
        if before is not None:
            raise InputError(
                f"input.path names {key} twice, as {before} and as {shard.url}; its rows would be "
                "scored twice. Remove the link, or list the files to read"
            )


def _ask_for_bucket(where: Address) -> None:
    """Raise StoreRefused if there is no such bucket, which s3fs takes for an empty one."""
    if "s3" in where.filesystem.protocol:
        next(Store(f"s3://{where.path.partition('/')[0]}").list(), None)


def _refuse_overlap(where: Address, item: Item, output: str) -> None:
    """Results must not be read as input, now or when the run is repeated."""
    filesystem, path = open_filesystem(output)
    ours = where.filesystem
    if type(filesystem) is not type(ours) or filesystem.storage_options != ours.storage_options:
        return
    pairs = [(item.path, path)]
    if is_local(filesystem):
        pairs.append((item.real, os.path.realpath(path)))
    for base, target in pairs:
        base, target = base.rstrip("/") + "/", target.rstrip("/") + "/"
        if base.startswith(target) or (target.startswith(base) and _reads(where, target, base)):
            raise _overlap(where.entry, output)


def _reads(where: Address, target: str, base: str) -> bool:
    """Whether a Parquet file in the folder `target` below `base` would be a shard."""
    pattern = Pattern(where.steps)
    position = pattern.start
    for step in f"{target[len(base) :]}x.parquet".split("/"):
        position = pattern.enter(position, step)
    return pattern.matches(position)


def _refuse_results(shards: list[ShardFile], output: str) -> None:
    """Links may lead from the input into the output."""
    filesystem, path = open_filesystem(output)
    inside = os.path.realpath(path).rstrip("/") + "/"
    for shard in shards:
        if is_local(filesystem) and shard.real.startswith(inside):
            raise _overlap(shard.url, output)


def _overlap(entry: str, output: str) -> ConfigError:
    return ConfigError(
        f"output.path={output} and input.path={entry} overlap, so results would be read as input; "
        "give the output a folder of its own"
    )
