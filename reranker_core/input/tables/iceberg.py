"""Iceberg tables by the library `pyiceberg`, without a catalog: from the newest metadata file in
the table's folder. Format: iceberg.apache.org/spec.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.fsspec import FsspecInputFile
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import StaticTable
from pyiceberg.table.snapshots import Snapshot as TableSnapshot

from reranker_core.errors import InputError, brief, count
from reranker_core.input.tables.marker import METADATA
from reranker_core.input.tables.snapshot import LiveFile, Snapshot, refuse
from reranker_core.storage.filesystem import open_filesystem, open_to_read
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.tree import Item, children

_HINT = "version-hint.text"
_NUMBER = re.compile(r"v?(\d+)")
_SHOWN = 3


class StoreIO(FileIO):
    """Files for pyiceberg, opened as all other files of the job are."""

    def new_input(self, location: str) -> FsspecInputFile:
        """The file at `location`."""
        return FsspecInputFile(location=location, fs=open_filesystem(location)[0])

    def new_output(self, location: str) -> Any:
        """Nothing is ever written to a table."""
        raise NotImplementedError(location)

    def delete(self, location: Any) -> None:
        """Nothing is ever removed from a table."""
        raise NotImplementedError(location)


def snapshot(url: str, version: int | None) -> Snapshot:
    """The live files of an Iceberg table.

    Args:
        url: of the table's folder.
        version: id of the snapshot; None: the current one.

    Raises:
        InputError: it has delete files, or columns that files have under other names; or which
            metadata file is the newest cannot be told.

    """
    opened, current = _opened(url, version)
    with _missing_files(url, opened.location()):
        tasks = list(opened.scan(snapshot_id=current.snapshot_id).plan_files())
    deletes = {delete.file_path for task in tasks for delete in task.delete_files}
    if deletes:
        raise refuse(
            url, f"rows of the Iceberg table are deleted by {count(len(deletes), 'delete file')}"
        )
    others = sorted(
        {str(task.file.file_format) for task in tasks} - {"PARQUET", "FileFormat.PARQUET"}
    )
    if others:
        raise refuse(url, f"files of the Iceberg table are {', '.join(others)}")
    schemas = {schema.schema_id: schema for schema in opened.metadata.schemas}
    schema = opened.schema()
    if current != opened.current_snapshot():
        schema = schemas.get(current.schema_id, schema)
    keys = _identity_keys(opened.metadata, schema)
    files = sorted(
        (_live(task.file, opened.location()) for task in tasks),
        key=lambda file: file.name,
    )
    if keys or _has_changed(schema, list(schemas.values())):
        renamed = _are_renamed(list(schemas.values()))
        for _ in in_parallel(
            lambda file: _check_columns(file.url, schema, keys, url, renamed), files
        ):
            pass
    return Snapshot(current.snapshot_id, tuple(files))


def rows(url: str, version: int | None) -> pa.RecordBatchReader:
    """The rows of an Iceberg table, without deleted ones, with the names of the table's columns."""
    opened, current = _opened(url, version)
    with _missing_files(url, opened.location()):
        return opened.scan(snapshot_id=current.snapshot_id).to_arrow_batch_reader()


@contextmanager
def _missing_files(url: str, location: str) -> Iterator[None]:
    """A missing file may be one of a table that was moved."""
    try:
        yield
    except FileNotFoundError as error:
        if url.removeprefix("file://").rstrip("/") == location.removeprefix("file://").rstrip("/"):
            raise
        raise InputError(
            f"{url}: a file of the Iceberg table is missing ({brief(error)}). Its metadata says "
            f"that the table is in {location}, and contains full paths. So a table that was moved "
            "or copied cannot be read: set input.path to the original folder, or write the paths "
            "again (in Spark: rewrite_table_path)"
        ) from None


def _opened(url: str, version: int | None) -> tuple[StaticTable, TableSnapshot]:
    properties = {"py-io-impl": f"{__name__}.{StoreIO.__name__}"}
    opened = StaticTable.from_metadata(_newest(url), properties)
    current = opened.current_snapshot() if version is None else opened.snapshot_by_id(version)
    if current is None and version is not None:
        known = [entry.snapshot_id for entry in opened.metadata.snapshots]
        raise InputError(
            f"{url}: the Iceberg table has no snapshot {version}; it has "
            f"{', '.join(map(str, known[-_SHOWN:])) or 'none'}"
        )
    if current is None:
        raise InputError(f"{url}: the Iceberg table is empty: it has no snapshot")
    return opened, current


def _live(file: DataFile, location: str) -> LiveFile:
    path, inside = file.file_path, location.rstrip("/") + "/"
    name = path[len(inside) :] if path.startswith(inside) else path.rpartition("://")[2]
    return LiveFile(path, name.lstrip("/"), size=file.file_size_in_bytes)


def _newest(url: str) -> str:
    """The table's current metadata file, as far as its folder tells."""
    filesystem, path = open_filesystem(url)
    folder = f"{path.rstrip('/')}/metadata"
    names = [item.name for item in children(filesystem, Item(folder, folder, "folder"))]
    if _HINT in names:
        hint = filesystem.cat_file(f"{folder}/{_HINT}").decode().strip()
        found = _of_version(hint, names)
        if found is None:
            raise InputError(
                f"{url}: {_HINT} of the Iceberg table names version {hint}, which is not in "
                f"{folder}"
            )
        while hint.isdecimal() and (later := _of_version(str(int(hint) + 1), names)):
            hint, found = str(int(hint) + 1), later  # the hint is written last, and may be old
        return f"{url.rstrip('/')}/metadata/{found}"
    numbers = {name: _number(name) for name in names if METADATA.fullmatch(name)}
    newest = sorted(name for name in numbers if numbers[name] == max(numbers.values()))
    if len(newest) > 1:
        raise InputError(
            f"{url}: {' and '.join(newest[:_SHOWN])} both look like the newest metadata of the "
            "Iceberg table; only its catalog knows which is. Remove the file that is not, or "
            "export the rows as Parquet files"
        )
    return f"{url.rstrip('/')}/metadata/{newest[0]}"


def _of_version(hint: str, names: list[str]) -> str | None:
    """The metadata file that a hint means: a number of a version, or a name."""
    named = [hint, f"v{hint}.metadata.json", f"v{hint}.gz.metadata.json", f"{hint}.metadata.json"]
    return next((name for name in named if name in names), None)


def _number(name: str) -> int:
    found = _NUMBER.match(name)
    return int(found[1]) if found else -1


def _has_changed(schema: Schema, schemas: list[Schema]) -> bool:
    """Whether files may have other columns than `schema`, or the same under other names."""
    names = _names(schema)
    return any(dict(_names(other)) != names for other in schemas)


def _are_renamed(schemas: list[Schema]) -> bool:
    """Whether a column ever had two names, or a name meant two columns."""
    named = {pair for schema in schemas for pair in _names(schema).items()}
    return any(len(set(part)) < len(named) for part in zip(*named, strict=True))


def _names(schema: Schema) -> dict[int, str]:
    return {number: str(schema.find_column_name(number)) for number in schema.field_ids}


def _identity_keys(metadata: Any, schema: Schema) -> set[str]:
    """Columns whose values files may leave to their partition."""
    return {
        str(schema.find_column_name(field.source_id))
        for spec in metadata.partition_specs
        for field in spec.fields
        if str(field.transform) == "identity"
    }


def _fields(parent: pa.Schema | pa.StructType) -> Iterator[pa.Field]:
    """All fields with names of their own: columns, and members of structs within them."""
    for field in parent:
        kind = field.type
        yield field
        while pa.types.is_list(kind) or pa.types.is_large_list(kind):
            kind = kind.value_type
        if pa.types.is_struct(kind):
            yield from _fields(kind)


def _check_columns(url: str, schema: Schema, keys: set[str], table: str, renamed: bool) -> None:
    """Refuse a file whose columns are not those of the table under the same names."""
    filesystem, path = open_filesystem(url)
    with open_to_read(filesystem, path) as stream:
        arrow = pq.ParquetFile(stream).schema_arrow
    names = _names(schema)
    for field in _fields(arrow):
        number = (field.metadata or {}).get(b"PARQUET:field_id")
        if number is None and renamed:
            raise refuse(
                table, f"{url} has no field ids, and columns of the Iceberg table were renamed"
            )
        now = field.name if number is None else names.get(int(number), "").rpartition(".")[2]
        if now != field.name or (number is None and now not in names.values()):
            became = f"is called '{now}' now" if now != field.name and now else "was dropped"
            raise refuse(table, f"column '{field.name}' of {url} {became} in the Iceberg table")
    missing = sorted(keys - set(arrow.names))
    if missing:
        raise refuse(
            table, f"{url} does not contain column '{missing[0]}'; its partition has the value"
        )
    for column in schema.columns:
        if column.name not in arrow.names and column.initial_default is not None:
            raise refuse(
                table, f"{url} does not contain column '{column.name}', which has a default value"
            )
