"""Reading the rows of parts from a shard."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.errors import InputError
from reranker_core.input.plan import Part
from reranker_core.input.shards import open_shard
from reranker_core.storage.filesystem import entity_tag, info_of, open_filesystem

_BATCH_ROWS = 4096


def read_parts(parts: list[Part], columns: tuple[str, ...]) -> Iterator[tuple[Part, pa.Table]]:
    """The tables of consecutive parts of one shard, in one pass, with only `columns`.

    Raises:
        InputError: the shard cannot be read, or has changed since the plan was made.

    """
    shard = parts[0].shard
    with open_shard(shard) as file:
        filesystem, path = open_filesystem(shard)
        if entity_tag(info_of(filesystem, path)) != parts[0].etag:
            raise InputError(
                f"{shard}: was changed while the job ran. Parts that are committed are of the old "
                "state; begin a new run with an output.path of its own"
            )
        yield from _cut(file, parts, columns)


def _cut(
    file: pq.ParquetFile, parts: list[Part], columns: tuple[str, ...]
) -> Iterator[tuple[Part, pa.Table]]:
    groups, first = _row_groups(file, parts[0].start, parts[-1].stop)
    rows = file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=list(columns))
    position = first
    batch: pa.RecordBatch | None = None
    for part in parts:
        gathered: list[pa.RecordBatch] = []
        while position < part.stop:
            if batch is None or not batch.num_rows:
                batch = next(rows, None)
                if batch is None:
                    raise InputError(
                        f"{part.shard}: ends at row {position}, before row {part.stop} of the "
                        "plan; it was changed while the job ran. Run again"
                    )
            skipped = max(part.start - position, 0)
            end = min(batch.num_rows, part.stop - position)
            if skipped < end:
                gathered.append(batch.slice(skipped, end - skipped))
            batch = batch.slice(end)
            position += end
        yield part, pa.Table.from_batches(gathered).select(list(columns))


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
