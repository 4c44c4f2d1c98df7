"""Rows that are pairs, or queries with lists of candidates, in files or tables of other formats."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as dataset
import pyarrow.parquet as pq

from reranker_core.convert.typed import BATCH_ROWS, Csv, JsonLines
from reranker_core.errors import ConfigError, InputError, brief
from reranker_core.input.kinds import (
    ARROW_FILE,
    ARROW_STREAM,
    CSV,
    JSON,
    JSON_LINES,
    ORC,
    PREDICTIONS,
    RUN,
    TSV,
    Kind,
    by_name,
    content_of,
    named_or_seen,
)
from reranker_core.input.listing import is_parquet
from reranker_core.input.tables.marker import Table, table_of
from reranker_core.input.tables.snapshot import read_rows
from reranker_core.storage.filesystem import is_local, open_filesystem, place
from reranker_core.storage.tree import children, item_at

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SHOWN = 80  # characters of a type


def rows_of(
    connection: DuckDBPyConnection, paths: Sequence[str], snapshot: int | None = None
) -> Iterator[pa.RecordBatchReader]:
    """The rows of each file, in their order, or those of a Delta or Iceberg table.

    Each reader must be used up before the next one is taken.

    Args:
        connection: the database.
        paths: by their suffix: .jsonl (.ndjson, .json), .csv, .tsv, each also with .gz or .zst;
            .arrow, .feather, .ipc, .arrows, .orc. JSON, Arrow and ORC are known by their content,
            too. The folder of a table is known by its marker.
        snapshot: version of a Delta table, or id of the snapshot of an Iceberg table; None: the
            newest.

    Raises:
        ConfigError: `snapshot` is set, and a path is no table.
        InputError: one cannot be read, is named twice, or has other columns than the first.

    """
    _refuse_doubles(paths)
    kinds = {path: _kind_of(path, snapshot) for path in paths}
    lines = JsonLines(connection, [path for path in paths if kinds[path] in (JSON_LINES, JSON)])
    signs = {CSV: ",", TSV: "\t"}
    csv = Csv(connection, {path: signs[kind] for path, kind in kinds.items() if kind in signs})
    first: tuple[str, pa.Schema] | None = None
    for path in paths:
        kind = kinds[path]
        if isinstance(kind, Table):
            reader = read_rows(kind, path, snapshot)
        elif kind in (JSON_LINES, JSON):
            reader = lines.read(path)
            _as_parquet(path, reader.schema)
        elif kind in signs:
            reader = csv.read(path)
        else:
            reader = _arrow(path, "orc" if kind == ORC else "feather")
        if reader.schema.names:  # an empty file has none
            first = first or (path, reader.schema)
            _refuse_other_columns(*first, path, reader.schema)
        yield reader


def _refuse_doubles(paths: Sequence[str]) -> None:
    """Rows of a file that is named twice would be converted, and scored, twice."""
    seen: dict[str, str] = {}
    for path in paths:
        filesystem, inner = open_filesystem(path)
        real = os.path.realpath(inner) if is_local(filesystem) else f"{place(filesystem)} {inner}"
        if real in seen:
            also = f", also as {seen[real]}" if seen[real] != path else ""
            raise InputError(
                f"{path}: this file is named twice{also}, so its rows would be converted twice. "
                "Name it once"
            )
        seen[real] = path


def _kind_of(path: str, snapshot: int | None) -> Kind | Table:
    filesystem, inner = open_filesystem(path)
    item = item_at(filesystem, inner)
    if item is None:
        raise InputError(f"{path}: this file does not exist")
    table = None
    if item.kind == "folder":
        table = table_of(filesystem, item.path, children(filesystem, item))
    if table is not None:
        return table
    if item.kind == "folder":
        raise InputError(
            f"{path}: is a folder, and not a Delta or Iceberg table. Name its files: "
            f"{path.rstrip('/')}/*.jsonl"
        )
    if snapshot is not None:
        raise ConfigError(f"--snapshot {snapshot}: {path} is not a Delta or Iceberg table")
    name = path.lower()
    for suffix in (".gz", ".zst"):
        name = name.removesuffix(suffix)
    kind = by_name(name) or content_of(path)
    if (seen := named_or_seen(filesystem, inner)) in (RUN, PREDICTIONS):
        raise InputError(f"{path}: is {seen.title}. {seen.remedy.replace('{file}', path)}")
    if kind in (JSON_LINES, JSON, CSV, TSV, ARROW_FILE, ARROW_STREAM, ORC):
        return kind
    if is_parquet(path):
        raise InputError(f"{path}: is Parquet already. Read it with input.path={path}")
    raise InputError(
        f"{path}: unknown file type; expected .jsonl, .csv, .tsv (also with .gz), .arrow, "
        ".feather or .orc. For a run, use --run"
    )


def _refuse_other_columns(first: str, expected: pa.Schema, path: str, schema: pa.Schema) -> None:
    """A run refuses shards whose columns differ: better now than then."""
    names = [*expected.names, *(name for name in schema.names if name not in expected.names)]
    for name in names:
        ours, theirs = (
            str(found.field(name).type) if name in found.names else "missing"
            for found in (expected, schema)
        )
        if ours != theirs:
            raise InputError(
                f"{path}: column '{name}' is {theirs}, but {ours} in {first}. All files of a run "
                "need the same columns. Correct this file, or convert it to another folder"
            )


def _arrow(path: str, kind: str) -> pa.RecordBatchReader:
    filesystem, inner = open_filesystem(path)
    try:
        with filesystem.open(inner) as file:
            stream = kind == "feather" and file.read(6) != b"ARROW1"
        if stream:  # as Hugging Face datasets writes it
            reader = pa.ipc.open_stream(filesystem.open(inner))
        else:
            found = dataset.dataset(inner, format=kind, filesystem=filesystem)
            reader = found.scanner(batch_size=BATCH_ROWS).to_reader()
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read: {brief(error)}") from None

    schema = _as_parquet(path, reader.schema)

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in reader:
                yield batch if schema == reader.schema else _decoded(batch, schema)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: cannot be read: {brief(error)}") from None

    return pa.RecordBatchReader.from_batches(schema, batches())


def _as_parquet(path: str, schema: pa.Schema) -> pa.Schema:
    """The schema without run-end encoding, which Parquet has of its own."""
    fields = []
    for field in schema:
        kind = field.type.value_type if pa.types.is_run_end_encoded(field.type) else field.type
        fields.append(field.with_type(kind))
        file = io.BytesIO()
        try:
            pq.write_table(pa.table({"x": pa.nulls(1, kind)}), file)
            pq.read_schema(file)  # which refuses lists in lists beyond a depth
        except (pa.ArrowException, ValueError, OSError):
            raise InputError(
                f"{path}: column '{field.name}' has the type {str(field.type)[:_SHOWN]}, which "
                "Parquet cannot represent. Write the file with another type of this column, or "
                "without it"
            ) from None
    return pa.schema(fields, schema.metadata)


def _decoded(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = (
        pc.run_end_decode(column) if pa.types.is_run_end_encoded(column.type) else column
        for column in batch.columns
    )
    return pa.RecordBatch.from_arrays(list(columns), schema=schema)
