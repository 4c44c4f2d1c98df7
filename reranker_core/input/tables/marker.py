"""How a folder shows that it is a table. Some of its Parquet files may be replaced, deleted or not
committed; only the table's log or metadata tells which.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import fsspec

from reranker_core.errors import StoreRefused
from reranker_core.storage.filesystem import is_local
from reranker_core.storage.tree import Item, children, item_at

Format = Literal["delta", "iceberg", "hudi", "paimon", "ducklake", "spark", "hive"]

TITLES: dict[Format, str] = {
    "delta": "Delta",
    "iceberg": "Iceberg",
    "hudi": "Hudi",
    "paimon": "Paimon",
    "ducklake": "DuckLake",
    "spark": "Spark streaming",
    "hive": "Hive ACID",
}
# `_spark_metadata`: files that a failed batch of Spark's file sink left are not in its log.
_LOGS: dict[str, Format] = {"_delta_log": "delta", ".hoodie": "hudi", "_spark_metadata": "spark"}
_HUDI_PARTITION = ".hoodie_partition_metadata"  # a file in each partition
_PAIMON = {"manifest", "schema", "snapshot"}  # paimon.apache.org, concepts/spec
_PAIMON_SNAPSHOT = re.compile(r"snapshot-\d+")
# ducklake.select, "Data files": in its database is which of them are live, and deletes of others.
_DUCKLAKE = re.compile(r"ducklake-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-delete)?\.parquet")
# cwiki.apache.org/confluence/display/Hive/Hive+Transactions: folders of a table or a partition.
_HIVE = re.compile(r"(base_\d{7}|(delete_)?delta_\d{7}_\d{7})(_.*)?")
# https://iceberg.apache.org/spec/#table-metadata-and-snapshots: v<V> in file system tables,
# <V>-<uuid> in catalogs.
METADATA = re.compile(r"(v\d+|\d+-.+)(\.gz)?\.metadata\.json(\.gz)?")


@dataclass(frozen=True, order=True)
class Table:
    """A folder that is a table, by its path within the filesystem."""

    path: str
    format: Format

    def __str__(self) -> str:
        article = "an" if self.format == "iceberg" else "a"
        return f"{self.path} is {article} {TITLES[self.format]} table"


def table_of(
    filesystem: fsspec.AbstractFileSystem, path: str, items: Iterable[Item]
) -> Table | None:
    """The table that a folder is, by what lies directly in it."""
    items = list(items)
    if {item.name for item in items if item.kind == "folder"} >= _PAIMON:
        return Table(path, "paimon")
    for item in items:
        if item.kind == "folder" and item.name in _LOGS:
            return Table(path, _LOGS[item.name])
        if item.name == _HUDI_PARTITION:
            return Table(path, "hudi")
        if item.kind == "folder" and _HIVE.fullmatch(item.name):
            return Table(path, "hive")
        if _DUCKLAKE.fullmatch(item.name):
            return Table(path, "ducklake")
        if item.kind == "folder" and item.name == "metadata":
            inside = children(filesystem, item)
            if any(METADATA.fullmatch(file.name) for file in inside):
                return Table(path, "iceberg")
    return None


def tables_in(base: str, names: Iterable[str]) -> Iterator[Table]:
    """The tables that the names of files below `base` show, `base` itself included."""
    for name in names:
        steps = name.split("/")
        for index, step in enumerate(steps[:-1]):
            if step in _LOGS:
                yield Table("/".join([base, *steps[:index]]), _LOGS[step])
                break
            if _HIVE.fullmatch(step):
                yield Table("/".join([base, *steps[:index]]), "hive")
                break
        else:
            if _DUCKLAKE.fullmatch(steps[-1]):
                yield Table("/".join([base, *steps[:-1]]), "ducklake")
            elif steps[-1] == _HUDI_PARTITION:
                yield Table("/".join([base, *steps[:-1]]), "hudi")
            elif len(steps) > 1 and steps[-2] == "metadata" and METADATA.fullmatch(steps[-1]):
                yield Table("/".join([base, *steps[:-2]]), "iceberg")
            elif len(steps) > 1 and steps[-2] == "snapshot" and _PAIMON_SNAPSHOT.match(steps[-1]):
                yield Table("/".join([base, *steps[:-2]]), "paimon")


def table_above(filesystem: fsspec.AbstractFileSystem, folder: Item) -> Table | None:
    """The nearest table that `folder` is or lies in. What may not be listed is no table."""
    seen: set[str] = set()
    for start in dict.fromkeys((folder.path, folder.real)):
        path = start.rstrip("/")
        while path and path not in seen:
            seen.add(path)
            found = _table_at(filesystem, path)
            if found is not None:
                return found
            path = posixpath.dirname(path)
            if path == "/":
                break
    return None


def _table_at(filesystem: fsspec.AbstractFileSystem, path: str) -> Table | None:
    try:
        for log, kind in _LOGS.items():
            if _is_folder(filesystem, f"{path}/{log}"):
                return Table(path, kind)
        if all(_is_folder(filesystem, f"{path}/{name}") for name in sorted(_PAIMON)):
            return Table(path, "paimon")
        metadata = f"{path}/metadata"
        if _is_folder(filesystem, metadata):
            inside = children(filesystem, Item(metadata, metadata, "folder"))
            if any(METADATA.fullmatch(file.name) for file in inside):
                return Table(path, "iceberg")
    except (PermissionError, FileNotFoundError, StoreRefused):
        pass
    return None


def _is_folder(filesystem: fsspec.AbstractFileSystem, path: str) -> bool:
    if is_local(filesystem):
        return os.path.isdir(path)
    found = item_at(filesystem, path)
    return found is not None and found.kind == "folder"
