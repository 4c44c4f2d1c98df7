"""Facts of shards that are read from their footers only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.errors import InputError
from reranker_core.input.kinds import unreadable
from reranker_core.input.schema import InputSchema
from reranker_core.input.shards import ShardFile, parquet_file
from reranker_core.input.types.extensions import plain_schema
from reranker_core.storage.filesystem import open_filesystem, open_to_read

_FOOTER_THREADS = 16
_SHOWN_PROBLEMS = 10


@dataclass(frozen=True)
class Footer:
    """A shard's footer, and its columns as they are read; without metadata of the whole schema."""

    metadata: pq.FileMetaData
    arrow: pa.Schema

    @property
    def rows(self) -> int:
        """Rows of the shard."""
        return int(self.metadata.num_rows)


@dataclass(frozen=True)
class RowGroup:
    """The facts of a row group, for the columns that are read."""

    rows: int
    pairs: int
    bytes: int


def read_footers(files: Sequence[ShardFile]) -> list[Footer]:
    """The footers of all shards, in their order.

    Raises:
        InputError: shards cannot be read; the message lists them.

    """

    def read(file: ShardFile) -> Footer | str:
        if file.size == 0:
            return f"{file.url}: is empty (0 bytes); expected a Parquet file"
        filesystem, path = open_filesystem(file.url)
        try:
            with open_to_read(filesystem, path) as stream:
                opened = parquet_file(stream)
                return Footer(opened.metadata, plain_schema(opened.schema_arrow))
        except (pa.ArrowException, OSError) as error:
            return unreadable(filesystem, path, file.url, file.size, error)

    with ThreadPoolExecutor(_FOOTER_THREADS) as threads:
        footers = list(threads.map(read, files))
    problems = [footer for footer in footers if isinstance(footer, str)]
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        raise InputError(
            "\n".join(
                [
                    f"{len(problems)} of {len(files)} shards cannot be read; nothing was scored:",
                    *problems[:_SHOWN_PROBLEMS],
                    *([f"… and {more} more"] if more > 0 else []),
                ]
            )
        )
    return [footer for footer in footers if isinstance(footer, Footer)]


def row_groups(metadata: pq.FileMetaData, schema: InputSchema) -> Iterator[RowGroup]:
    """The row groups of a shard, with pairs and bytes of the columns that are read."""
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        pairs = group.num_rows
        size = 0
        for position in range(group.num_columns):
            column = group.column(position)
            top = column.path_in_schema
            name = next((c for c in schema.columns if top == c or top.startswith(c + ".")), None)
            if name is None:
                continue
            size += column.total_uncompressed_size
            if schema.nested and name == schema.passage.column:
                pairs = max(pairs, column.num_values)
        yield RowGroup(group.num_rows, pairs, size)
