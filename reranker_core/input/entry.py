"""One entry of `input.path`: a file, a folder, a glob, or a table."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from reranker_core.config import Config
from reranker_core.errors import ConfigError, InputError, RerankError, brief
from reranker_core.input.absence import not_a_file, nothing_found, nothing_there
from reranker_core.input.address import Address, address, no_web_folder
from reranker_core.input.listing import find_shards
from reranker_core.input.pattern import Pattern
from reranker_core.input.tables.marker import TITLES, Table, table_above, tables_in
from reranker_core.input.tables.snapshot import LiveFile, read_snapshot, way_out
from reranker_core.storage.buckets import refuse_absent_bucket
from reranker_core.storage.filesystem import (
    entity_tag,
    info_of,
    is_local,
    is_web,
    open_filesystem,
    place,
)
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.tree import Item, item_at


@dataclass(frozen=True)
class ShardFile:
    """One input file.

    Attributes:
        url: the URL or path that opens it on every node.
        name: its path below the folder or glob that `input.path` names, so that it stays the same
            when the whole input is moved.
        size: bytes; for a link, the size of its target.
        etag: a value that changes when the file changes.
        real: the path of the file without links.
        keys: columns with one value for the whole file, as steps `key=value` of a path; None:
            those of the folders in `name`.
        key_types: types of these columns; a column without an entry is text.
        inode: identifies a file that has several names: hard links on a disk, or URLs of a store.

    """

    url: str
    name: str
    size: int
    etag: str
    real: str = field(default="", compare=False)
    keys: str | None = None
    key_types: pa.Schema | None = field(default=None, compare=False)
    inode: str = field(default="", compare=False)


@dataclass(frozen=True)
class Entry:
    """The shards of an entry of `input.path`.

    Attributes:
        shards: sorted by name.
        passed_over: number of names that are skipped, by reason.
        version: the snapshot that is read, if the entry is a table.

    """

    shards: list[ShardFile]
    passed_over: Counter[str] = field(default_factory=Counter)
    version: int | None = None


def list_entry(entry: str, config: Config, version: int | None) -> Entry:
    """The shards of one entry.

    Args:
        entry: the text in the configuration.
        config: the format and the output.
        version: the snapshot to read if the entry is a table; None: the newest one.

    Raises:
        InputError: it has no shards, or some of them cannot be read.
        ConfigError: it is empty, has an unknown scheme, or contains the output.

    """
    try:
        where = address(entry)
        item = item_at(where.filesystem, where.path)
        if item is None or (item.kind == "file" and where.steps):
            refuse_absent_bucket(where.filesystem, where.path, f"input.path={entry}")
            raise InputError(nothing_there(where))
        if item.kind == "folder" and is_web(where.filesystem):
            raise no_web_folder(entry)
        if item.kind in ("link", "other"):
            raise InputError(not_a_file(where, item))
        _refuse_overlap(where, item, config.output.path)
        if item.kind == "file":
            if config.input.format in ("delta", "iceberg"):
                raise InputError(_is_no_table(where, config))
            folder, name = posixpath.split(where.path)
            names = [posixpath.join(posixpath.basename(folder), name)]
            for table in tables_in(posixpath.dirname(folder), names):
                if table.format in ("delta", "iceberg"):  # the file is part of its log
                    raise InputError(_refusal(where, table, "lies in"))
            return Entry([_shard(where, item, posixpath.dirname(where.path))])
        return _folder(where, item, config, version)
    except PermissionError as error:
        raise InputError(
            f"input.path={entry}: permission denied: {error.filename or brief(error)}; give the "
            "user of the job permission to read it, or leave it out with a pattern such as "
            "input.path=FOLDER/*.parquet"
        ) from None
    except RerankError:
        raise
    except Exception as error:  # noqa: BLE001 - each store has its own
        raise InputError(f"input.path={entry}: cannot be listed: {brief(error)}") from None


def _folder(where: Address, folder: Item, config: Config, version: int | None) -> Entry:
    table = table_above(where.filesystem, folder)
    if table is not None:
        root = table.path in (folder.path.rstrip("/"), folder.real) and not where.steps
        if root and config.input.format in ("auto", table.format):
            return _table(where, table, version)
        raise InputError(_refusal(where, table, "is" if root else "lies in"))
    if config.input.format in ("delta", "iceberg"):
        raise InputError(_is_no_table(where, config))
    for step in where.steps:
        if "**" in step and step != "**":
            raise InputError(
                f"input.path={where.entry}: ** must be a path component of its own; found {step}. "
                f"For files in all folders below, write **/{step.replace('**', '*')}"
            )
    found = find_shards(where.filesystem, folder, Pattern(where.steps))
    if found.tables:
        raise InputError(_refusal(where, min(found.tables), "holds"))
    if found.unfinished:
        raise InputError(
            f"input.path={where.entry}: 'batch-reranker convert' has not finished the shards in "
            f"{min(found.unfinished)}: it is still running or was stopped, and rows may be "
            "missing. Wait for it, or remove the folder and run convert again"
        )
    if not found.shards:
        refuse_absent_bucket(where.filesystem, where.path, f"input.path={where.entry}")
        raise InputError(nothing_found(where, folder, found))
    base = where.path.rstrip("/")
    items = sorted(found.shards, key=lambda item: item.path)
    return Entry([_shard(where, item, base) for item in items], found.passed_over)


def _table(where: Address, table: Table, version: int | None) -> Entry:
    snapshot = read_snapshot(table, where.url, version)
    if not snapshot.files:
        raise InputError(
            f"input.path={where.entry}: no shards there: the {TITLES[table.format]} table has no "
            f"rows in snapshot {snapshot.version}"
        )
    shards = in_parallel(lambda file: _live(file, where, snapshot.version), snapshot.files)
    return Entry(list(shards), version=snapshot.version)


def _live(file: LiveFile, where: Address, version: int) -> ShardFile:
    filesystem, path = open_filesystem(file.url)
    try:
        info = info_of(filesystem, path)
    except FileNotFoundError:
        raise InputError(
            f"input.path={where.entry}: {file.url} belongs to snapshot {version}, but does not "
            "exist. It may have been removed (vacuum, expired snapshots), or the table was moved. "
            "Choose a newer version with input.snapshot. If the output was started with this "
            "version, also set input.changed=rescore"
        ) from None
    _refuse_other_encoding(file.url)
    url, real = (path, os.path.realpath(path)) if is_local(filesystem) else (file.url, "")
    size = int(info["size"])
    if file.size not in (None, size):
        raise InputError(
            f"input.path={where.entry}: {file.url} has {size} bytes, but the table says "
            f"{file.size}: the file was overwritten outside the table. Restore it, or write its "
            "rows through the table"
        )
    return ShardFile(url, file.name, size, entity_tag(info), real, file.keys, file.key_types)


def _refusal(where: Address, table: Table, relation: str) -> str:
    title = f"{'an' if table.format == 'iceberg' else 'a'} {TITLES[table.format]} table"
    told = (
        f"input.path={where.entry}: {table.path or where.entry} is {title}"
        if relation != "lies in"
        else f"input.path={where.entry}: is inside {table.path}, which is {title}"
    )
    told += (
        ". Some of its files may be replaced, deleted or not committed, so they are not read as "
        "plain Parquet. "
    )
    if table.format not in ("delta", "iceberg") or not table.path:
        return told + way_out(table)
    more = "" if relation == "is" else f" input.path={table.path}"
    return (
        f"{told}Read the table itself with{more} input.format={table.format}. Or: {way_out(table)}"
    )


def _is_no_table(where: Address, config: Config) -> str:
    marker = "_delta_log" if config.input.format == "delta" else "metadata/*.metadata.json"
    title = TITLES["delta" if config.input.format == "delta" else "iceberg"]
    return (
        f"input.path={where.entry}: is not a table in the format {title}: it has no {marker}. Set "
        f"input.path to the folder of a table, or change input.format={config.input.format}"
    )


def _shard(where: Address, item: Item, base: str) -> ShardFile:
    url = where.url_of(item.path)
    _refuse_other_encoding(url)
    return ShardFile(
        url=url,
        name=item.path[len(base) :].lstrip("/"),
        size=int(item.info["size"]),
        etag=entity_tag(item.info),
        real=item.real if is_local(where.filesystem) else "",
        inode=_inode(where, item),
    )


def _inode(where: Address, item: Item) -> str:
    if is_local(where.filesystem):
        return str(item.info.get("inode", ""))
    return f"{place(where.filesystem)} {item.path}"


def _refuse_other_encoding(url: str) -> None:
    """Names are part of the output (names of parts, values of partition keys), which is UTF-8."""
    try:
        url.encode()
    except UnicodeEncodeError:
        escaped = url.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise InputError(
            f"{escaped}: the name of this file, or of a folder above it, is not UTF-8. Rename it"
        ) from None


def _refuse_overlap(where: Address, item: Item, output: str) -> None:
    """Results must not be read as input, now or when the run is repeated."""
    filesystem, path = open_filesystem(output)
    ours = where.filesystem
    if place(filesystem) != place(ours):
        return
    pairs = [(item.path, path)]
    if is_local(filesystem):
        pairs.append((item.real, os.path.realpath(path)))
    for base, target in pairs:
        base, target = base.rstrip("/") + "/", target.rstrip("/") + "/"
        if base.startswith(target) or (target.startswith(base) and _reads(where, target, base)):
            raise overlap(where.entry, output)


def _reads(where: Address, target: str, base: str) -> bool:
    """Whether a Parquet file in the folder `target` below `base` would be a shard."""
    pattern = Pattern(where.steps)
    position = pattern.start
    for step in f"{target[len(base) :]}x.parquet".split("/"):
        position = pattern.enter(position, step)
    return pattern.matches(position)


def overlap(entry: str, output: str) -> ConfigError:
    """The error for an output that would be read as input."""
    return ConfigError(
        f"output.path={output} and input.path={entry} overlap, so results would be read as input. "
        "Use a separate folder for the output"
    )
