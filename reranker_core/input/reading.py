"""Reading the rows of parts from a shard."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.errors import InputError, rows_text
from reranker_core.input.footers import leaves
from reranker_core.input.partitions import check_key, key_column, key_values
from reranker_core.input.plan import Part
from reranker_core.input.shards import open_shard
from reranker_core.input.types.conversion import converted_batch
from reranker_core.input.types.extensions import plain_schema
from reranker_core.storage.filesystem import entity_tag, info_of, open_filesystem

# What is decoded at a time. A row may hold hundreds of candidates, and a dictionary page may hold
# texts that are a thousand times as large once they are decoded.
_BATCH_PAIRS = 1024
_BATCH_BYTES = 16 * 2**20
_FEWER = 16
_LARGEST_PART = 2**31  # bytes


def read_parts(parts: list[Part], columns: tuple[str, ...]) -> Iterator[tuple[Part, pa.Table]]:
    """The tables of consecutive parts of one shard, in one pass, with only `columns`.

    A column that is missing in the shard gets the value of its partition key, or nulls.

    Raises:
        InputError: the shard cannot be read, has changed since the plan was made, or differs from
            a partition key.

    """
    shard = parts[0].shard
    with open_shard(shard) as file:
        filesystem, path = open_filesystem(shard)
        if entity_tag(info_of(filesystem, path)) != (parts[0].seen or parts[0].etag):
            raise InputError(
                f"{shard}: was changed while the job ran. Committed parts have the old rows. "
                "Start a new run with another output.path"
            )
        keys = key_values(parts[0].folders, shard)
        there = [name for name in columns if name in file.schema_arrow.names]
        lost = [name for name in columns if name not in there and name not in keys]
        for part, table in _cut(file, parts, there):
            for name in there:
                if name in keys:
                    check_key(table.column(name), name, keys[name], shard)
            for name in columns:
                if name in lost:
                    table = table.append_column(name, pa.nulls(part.rows))
                elif name not in there:
                    table = table.append_column(name, key_column(keys[name], part.rows))
            yield part, table.select(list(columns))


def _cut(
    file: pq.ParquetFile, parts: list[Part], columns: list[str]
) -> Iterator[tuple[Part, pa.Table]]:
    groups, first = _row_groups(file, parts[0].start, parts[-1].stop)
    schema = plain_schema(pa.schema([file.schema_arrow.field(name) for name in columns]))
    rows = _batches(file, groups, columns, parts[0].shard, first)
    position = first
    batch: pa.RecordBatch | None = None
    for part in parts:
        gathered: list[pa.RecordBatch] = []
        size = 0
        while position < part.stop:
            if batch is None or not batch.num_rows:
                batch = next(rows, None)
                if batch is None:
                    raise InputError(
                        f"{part.shard}: ends at row {position}, before row {part.stop} of the "
                        "plan, so it was changed while the job ran. Run the job again"
                    )
                # Extension types that only some processes know become plain ones.
                batch = converted_batch(batch, schema)
            skipped = max(part.start - position, 0)
            end = min(batch.num_rows, part.stop - position)
            if skipped < end:
                gathered.append(batch.slice(skipped, end - skipped))
                size += gathered[-1].nbytes
            if size > _LARGEST_PART and part.rows > 1:
                raise InputError(
                    f"{part.shard}: {rows_text(part.start, part.stop)} have more than "
                    f"{_LARGEST_PART >> 30} GiB of values, although they are small in the file. "
                    f"Set plan.part_rows to less than {max(part.pairs // 2, 1)}, so that they "
                    "become several parts"
                )
            batch = batch.slice(end)
            position += end
        yield part, pa.Table.from_batches(gathered, schema)


def _batches(
    file: pq.ParquetFile, groups: list[int], columns: list[str], shard: str, first: int
) -> Iterator[pa.RecordBatch]:
    """The rows of row groups, in batches that Arrow can hold.

    Texts that are repeated may be far larger than the footer tells. Where a batch cannot be held,
    fewer rows are decoded at a time.
    """
    rows, done = _batch_rows(file, groups, columns), 0
    while True:
        skipped = 0
        try:
            for batch in file.iter_batches(rows, groups, columns=columns):
                left = batch.slice(max(done - skipped, 0))
                skipped += batch.num_rows - left.num_rows
                if left.num_rows:
                    done += left.num_rows
                    skipped += left.num_rows
                    yield left
            return
        except (pa.ArrowNotImplementedError, pa.ArrowCapacityError):
            if rows == 1:
                raise InputError(
                    f"{shard}: row {first + done} has more than 2 GiB in one column, which Arrow "
                    "cannot hold. Divide its candidates among several rows"
                ) from None
        rows = max(1, rows // _FEWER)


def _batch_rows(file: pq.ParquetFile, groups: list[int], columns: list[str]) -> int:
    """Rows to decode at a time, by the fan-out and the bytes that the footer tells."""
    there = leaves(file.metadata.schema, columns)
    rows = values = size = 0
    for index in groups:
        group = file.metadata.row_group(index)
        rows += group.num_rows
        most = group.num_rows
        for position in there:
            column = group.column(position)
            most = max(most, column.num_values)
            size += column.total_uncompressed_size
        values += most
    share = max(values / _BATCH_PAIRS, size / _BATCH_BYTES)
    return max(1, int(rows / share)) if share else 1


def _row_groups(file: pq.ParquetFile, start: int, stop: int) -> tuple[list[int], int]:
    """Which row groups hold rows `start` to `stop`, and the first row of the first of them."""
    chosen: list[int] = []
    first = position = 0
    for index in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(index).num_rows
        if position < stop and position + rows > start:
            if not chosen:
                first = position
            chosen.append(index)
        position += rows
    return chosen, first
