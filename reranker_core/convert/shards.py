"""Batches of rows become Parquet shards of moderate size; a query's rows are never divided."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reranker_core.errors import ConfigError, InputError
from reranker_core.input.listing import UNFINISHED
from reranker_core.storage.store import Store

SHARD_ROWS = 262_144
# Encoded bytes, which are held in memory while a shard is written.
_SHARD_BYTES = 128 * 2**20
_GROUP_ROWS = 8192  # plan.part_rows, so that a part is a row group
_GROUP_BYTES = 64 * 2**20  # decoded
_QUERY = "query_id"


@dataclass(frozen=True)
class Converted:
    """What was written."""

    rows: int
    shards: int


def write_shards(
    readers: Iterable[pa.RecordBatchReader], output: str, shard_rows: int = SHARD_ROWS
) -> Converted:
    """Write all rows to `part-00000.parquet` and so on. Each reader begins a shard of its own.

    Until all are written, the folder has a file `_unfinished_convert`, and is refused as input.

    Args:
        readers: one after the other.
        output: folder, local or a URL; nothing may be in it.
        shard_rows: after so many rows a shard ends, where the next query begins.

    Raises:
        ConfigError: the folder is not empty.
        InputError: a file cannot be read, or there are no rows. Nothing is left behind, not even
            a new folder.

    """
    store = Store(output)
    there = next(iter(store.list()), None)
    if store.exists(UNFINISHED):
        raise ConfigError(
            f"{store.url}: another convert is writing to this folder, or was stopped before it "
            "had finished. Choose another folder, or remove this one"
        )
    if there is not None:
        raise ConfigError(
            f"{store.url}: the folder already contains files, such as {there.name}; choose "
            "another one"
        )
    is_new = not store.is_there()
    written = [UNFINISHED]
    rows = 0
    try:
        store.write(UNFINISHED, b"batch-reranker convert\n")
        for shard in (shard for reader in readers for shard in _shards(reader, shard_rows)):
            written.append(f"part-{len(written) - 1:05d}.parquet")
            rows += shard.rows
            store.write(written[-1], shard.content())
        if not rows:
            raise InputError("convert: there are no rows to write")
        store.delete(UNFINISHED)
    except BaseException:
        store.delete(*written[1:])
        store.delete(UNFINISHED)  # last: should this be interrupted, the rest is still refused
        if is_new:
            store.remove_folder()
        raise
    return Converted(rows, len(written) - 1)


class _Shard:
    """A Parquet file in memory, in row groups of bounded size."""

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = 0
        self._sink = io.BytesIO()
        self._writer = pq.ParquetWriter(self._sink, schema, compression="zstd")
        self._group: list[pa.RecordBatch] = []

    def add(self, batch: pa.RecordBatch) -> None:
        self._group.append(batch)
        self.rows += batch.num_rows
        if (
            sum(part.num_rows for part in self._group) >= _GROUP_ROWS
            or sum(part.nbytes for part in self._group) >= _GROUP_BYTES
        ):
            self._flush()

    def is_full(self, shard_rows: int) -> bool:
        return self.rows >= shard_rows or self._sink.tell() >= _SHARD_BYTES

    def content(self) -> bytes:
        self._flush()
        self._writer.close()
        return self._sink.getvalue()

    def _flush(self) -> None:
        if self._group:
            table = pa.Table.from_batches(self._group)
            self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
            self._group = []


def _shards(reader: pa.RecordBatchReader, shard_rows: int) -> Iterator[_Shard]:
    shard = _Shard(reader.schema)
    last: Any = None
    for batch in reader:
        left = batch
        if shard.is_full(shard_rows):
            begin = _next_query(batch, last)
            shard.add(batch.slice(0, begin))
            left = batch.slice(begin)
            if left.num_rows:
                yield shard
                shard = _Shard(reader.schema)
        shard.add(left)
        if batch.num_rows and _QUERY in batch.schema.names:
            last = batch.column(_QUERY)[-1]
    if shard.rows:
        yield shard


def _next_query(batch: pa.RecordBatch, last: Any) -> int:
    """The first row of a batch that is not of the query before it; all rows if there is none."""
    if _QUERY not in batch.schema.names:
        return 0
    same = pc.equal(batch.column(_QUERY), last).to_pylist()
    return next((row for row, equal in enumerate(same) if not equal), batch.num_rows)
