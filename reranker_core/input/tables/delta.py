"""Delta tables by the library `deltalake`. Format: github.com/delta-io/delta, PROTOCOL.md."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from reranker_core.errors import InputError, count
from reranker_core.input.tables.marker import Table
from reranker_core.input.tables.snapshot import LiveFile, Snapshot, hive_steps, refuse, way_out
from reranker_core.input.types.conversion import converted_batch

_ABSOLUTE = re.compile("/|[a-z][a-z0-9+.-]*:/+")  # Hadoop writes file:/ and s3://
# Features that change nothing of what a file's rows are.
_HARMLESS = {
    "appendOnly", "invariants", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck",
    "columnMapping", "deletionVectors",  # the last two are looked at
}  # fmt: skip


def snapshot(url: str, version: int | None) -> Snapshot:
    """The live files of a Delta table.

    Args:
        url: of the table's folder.
        version: null: the newest.

    Raises:
        InputError: files have deletion vectors, columns are mapped, or the table has a feature
            that is not known here.

    """
    opened = _opened(url, version)
    _refuse_unknown(url, opened)
    columns = opened.metadata().partition_columns
    actions = pa.table(opened.get_add_actions(flatten=False))
    values = actions["partition"].to_pylist() if columns else [{}] * actions.num_rows
    arrow = pa.schema(opened.schema().to_arrow())
    types = pa.schema([arrow.field(name) for name in columns])
    files = [
        _live(url, unquote(path), size, {name: _text(keys[name]) for name in columns}, types)
        for path, size, keys in zip(
            actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), values, strict=True
        )
    ]
    return Snapshot(opened.version(), tuple(sorted(files, key=lambda file: file.name)))


def rows(url: str, version: int | None) -> pa.RecordBatchReader:
    """The rows of a Delta table, without deleted ones, with the names of the table's columns."""
    opened = _opened(url, version)
    schema = pa.schema(opened.schema().to_arrow())
    query = QueryBuilder()
    query.execute("SET datafusion.execution.target_partitions = 1")  # file by file
    query.register("rows", opened)
    found = pa.RecordBatchReader.from_stream(query.execute("SELECT * FROM rows"))
    # The engine has types of its own, such as views of strings.
    batches = (converted_batch(batch, schema) for batch in found)
    return pa.RecordBatchReader.from_batches(schema, batches)


def _opened(url: str, version: int | None) -> DeltaTable:
    if unquote(url) != url:
        raise InputError(
            f"{url}: the library deltalake cannot read a Delta table whose path contains a percent "
            "code, because it decodes it. Rename or move the folder"
        )
    opened = DeltaTable(url, storage_options=_options(url))
    newest = opened.version()
    if version is None or version == newest:
        return opened
    if not 0 <= version < newest:
        raise InputError(
            f"{url}: the Delta table has no version {version}; the newest is {newest}. Correct "
            "input.snapshot"
        )
    return DeltaTable(url, version=version, storage_options=_options(url))


def _live(
    url: str, path: str, size: int, keys: dict[str, str | None], types: pa.Schema
) -> LiveFile:
    steps = hive_steps(keys)
    if _ABSOLUTE.match(path):  # of a shallow clone
        return LiveFile(path, _ABSOLUTE.sub("", path).lstrip("/"), steps, types, size)
    return LiveFile(f"{url.rstrip('/')}/{path}", path, steps, types, size)


def _refuse_unknown(url: str, opened: DeltaTable) -> None:
    features = set(opened.protocol().reader_features or ())
    unknown = sorted(features - _HARMLESS)
    if unknown:
        raise InputError(
            f"{url}: the Delta table uses {', '.join(unknown)}, which the job cannot read. "
            f"{way_out(Table(url, 'delta'))}"
        )
    mapping = opened.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mapping != "none":
        raise refuse(
            url,
            f"columns of the Delta table are mapped (delta.columnMapping.mode={mapping})",
        )
    columns = set(opened.metadata().partition_columns)
    for field in pa.schema(opened.schema().to_arrow()):
        if field.name in columns and pa.types.is_binary(field.type):
            raise refuse(url, f"the Delta table is partitioned by bytes ({field.name})")
    if "deletionVectors" in features:
        deleted = sum(
            batch.num_rows for batch in pa.RecordBatchReader.from_stream(opened.deletion_vectors())
        )
        if deleted:
            raise refuse(
                url, f"rows of the Delta table are deleted in {count(deleted, 'deletion vector')}"
            )


def _text(value: Any) -> str | None:
    """A partition value as the log has it."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _options(url: str) -> dict[str, str]:
    """What the library's own client needs beside the environment."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    plain = url.startswith(("s3://", "s3a://")) and endpoint.startswith("http://")
    return {"allow_http": "true"} if plain else {}
