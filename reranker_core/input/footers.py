"""Columns, row groups and sizes of shards, read from their footers only."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.errors import InputError, brief
from reranker_core.input.kinds import ENCRYPTED, unreadable
from reranker_core.input.schema import InputSchema
from reranker_core.input.shards import ShardFile, parquet_file
from reranker_core.input.types.extensions import plain_schema
from reranker_core.storage.filesystem import RangeReader, open_filesystem, open_to_read

_FOOTER_THREADS = 16
_SHOWN_PROBLEMS = 10
# github.com/apache/parquet-format, Encryption.md, 5.5: a nonce of 12 bytes and a tag of 16.
_SIGNATURE = 28


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
                arrow = plain_schema(opened.schema_arrow)
                _ = arrow.names, opened.metadata.created_by  # which must be UTF-8
                if _is_signed(stream, opened.metadata, file.size):
                    return f"{file.url}: has encrypted columns. {ENCRYPTED.remedy}"
                return Footer(opened.metadata, arrow)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
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


def _is_signed(stream: IO[bytes] | RangeReader, metadata: pq.FileMetaData, size: int) -> bool:
    """Whether a footer has the signature that it has beside encrypted columns. pyarrow would end
    this process when asked for the facts of such a column.
    """
    stream.seek(size - 8)  # its length in 4 bytes, and the magic bytes
    return int.from_bytes(stream.read(4), "little") - metadata.serialized_size == _SIGNATURE


def row_groups(metadata: pq.FileMetaData, schema: InputSchema, shard: str) -> tuple[RowGroup, ...]:
    """The row groups of a shard, with pairs and bytes of the columns that are read.

    Raises:
        InputError: numbers in the footer contradict each other.

    """
    try:
        groups = tuple(
            _row_group(metadata.row_group(index), schema)
            for index in range(metadata.num_row_groups)
        )
        rows = sum(group.rows for group in groups)
        if rows != metadata.num_rows:
            raise ValueError(f"{metadata.num_rows} rows, but {rows} in its row groups")
    except ValueError as error:
        raise InputError(
            f"{shard}: its Parquet footer is damaged: {brief(error)}. Copy or write it again"
        ) from None
    return groups


def _row_group(group: pq.RowGroupMetaData, schema: InputSchema) -> RowGroup:
    """Raises ValueError if the numbers cannot be true."""
    pairs = rows = group.num_rows
    size = 0
    for position in range(group.num_columns):
        column = group.column(position)
        top = column.path_in_schema
        name = next((c for c in schema.columns if top == c or top.startswith(c + ".")), None)
        if name is None:
            continue
        if not 0 <= rows <= column.num_values or column.total_uncompressed_size < 0:
            raise ValueError(
                f"{column.num_values} values ({column.total_uncompressed_size} bytes) in column "
                f"'{name}' for {rows} rows"
            )
        size += column.total_uncompressed_size
        if schema.nested and name == schema.passage.column:
            pairs = max(pairs, column.num_values)
    return RowGroup(rows, pairs, size)
