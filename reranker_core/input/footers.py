"""Columns, row groups and sizes of shards, read from their footers only."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.errors import InputError, brief, count
from reranker_core.input.footer_trial import fatal_footers
from reranker_core.input.kinds import ENCRYPTED, unreadable
from reranker_core.input.schema import InputSchema
from reranker_core.input.shards import ShardFile, parquet_file
from reranker_core.input.types.extensions import plain_schema
from reranker_core.storage.filesystem import RangeReader, open_filesystem, open_to_read

_FOOTER_THREADS = 16
_SHOWN_PROBLEMS = 10
# github.com/apache/parquet-format, Encryption.md, 5.5: a nonce of 12 bytes and a tag of 16.
_SIGNATURE = 28
_MAGIC = b"PAR1"
_SMALLEST = 12  # bytes of a file without rows, at least
_INDEXES = 2**20  # bytes of page indexes and Bloom filters, at most


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

    def checked(file: ShardFile, footer: Footer | str) -> Footer | str:
        if isinstance(footer, str):
            return footer
        if id(footer.metadata) in fatal:
            return (
                f"{file.url}: its Parquet footer is damaged ({file.size} bytes): the numbers of a "
                "column contradict its type. Copy or write it again"
            )
        if _is_index(footer.metadata):
            return (
                f"{file.url}: is an index of other Parquet files, without rows of its own. "
                "Set input.path to the folder of these files"
            )
        if _is_joined(file, footer.metadata):
            return (
                f"{file.url}: is several Parquet files joined into one, as 'cat' does. A "
                "reader would find only rows of one of them. Give the single files instead"
            )
        return footer

    with ThreadPoolExecutor(_FOOTER_THREADS) as threads:
        footers = list(threads.map(read, files))
        opened = [footer.metadata for footer in footers if isinstance(footer, Footer)]
        fatal = {id(opened[number]) for number in fatal_footers(opened)}
        footers = list(threads.map(checked, files, footers))
    problems = [footer for footer in footers if isinstance(footer, str)]
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        raise InputError(
            "\n".join(
                [
                    f"{len(problems)} of {count(len(files), 'shard')} cannot be read; nothing was "
                    "scored:",
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


def _is_index(metadata: pq.FileMetaData) -> bool:
    """Whether a file, such as `_metadata` or `_common_metadata`, only tells of rows elsewhere."""
    if not metadata.num_row_groups:
        return bool(metadata.num_rows)
    group = metadata.row_group(0)
    return bool(group.num_columns and group.column(0).file_path)


def _is_joined(file: ShardFile, metadata: pq.FileMetaData) -> bool:
    """Whether other Parquet files stand before the one that the footer belongs to.

    Then there is a gap between the data and the footer, as long as these files and the indexes of
    the last one. Indexes alone are small, so a small gap is not looked at. In the gap, the end of
    one file and the start of the next stand side by side.
    """
    if not metadata.num_row_groups:
        return False
    group = metadata.row_group(metadata.num_row_groups - 1)
    columns = [group.column(position) for position in range(group.num_columns)]
    end = max((_start(column) + column.total_compressed_size for column in columns), default=0)
    gap = file.size - 8 - metadata.serialized_size - end
    if not max(_SMALLEST, file.size // 20) <= gap < file.size:
        return False
    first = max(gap - _INDEXES, 0)
    with open_to_read(*open_filesystem(file.url)) as stream:
        stream.seek(first)
        window = stream.read(gap + len(_MAGIC) - first)
        seams = (found.start() for found in re.finditer(2 * _MAGIC, window))
        return any(_ends_a_file(stream, first + seam) for seam in seams)


def _ends_a_file(stream: IO[bytes] | RangeReader, end: int) -> bool:
    """Whether a Parquet footer and its length stand right before position `end`."""
    stream.seek(end - 4)
    length = int.from_bytes(stream.read(4), "little")
    if not 0 < length <= end - 8:
        return False
    stream.seek(end - 4 - length)
    footer = stream.read(length + 4)
    try:
        pq.read_metadata(pa.BufferReader(_MAGIC + footer + _MAGIC))
    except (pa.ArrowException, OSError):
        return False
    return True


def _start(column: pq.ColumnChunkMetaData) -> int:
    """Position of the first byte of a column chunk."""
    dictionary, data = column.dictionary_page_offset, column.data_page_offset
    return int(data if dictionary is None else min(dictionary, data))


def leaves(schema: pq.ParquetSchema, columns: Collection[str]) -> dict[int, str]:
    """Positions of the leaf columns that belong to `columns`, and which of these it is.

    The path of a leaf begins with the name of its column, which may contain dots itself.
    """
    wanted = set(columns)
    found: dict[int, str] = {}
    for position in range(len(schema)):
        steps = schema.column(position).path.split(".")
        names = accumulate(steps, lambda name, step: f"{name}.{step}")
        name = next((name for name in names if name in wanted), None)
        if name is not None:
            found[position] = name
    return found


def row_groups(metadata: pq.FileMetaData, schema: InputSchema, shard: str) -> tuple[RowGroup, ...]:
    """The row groups of a shard, with pairs and bytes of the columns that are read.

    Raises:
        InputError: numbers in the footer contradict each other.

    """
    there = leaves(metadata.schema, schema.columns)
    try:
        groups = tuple(
            _row_group(metadata.row_group(index), there, schema)
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


def _row_group(group: pq.RowGroupMetaData, there: dict[int, str], schema: InputSchema) -> RowGroup:
    """Raises ValueError if the numbers cannot be true."""
    pairs = rows = group.num_rows
    size = 0
    for position, name in there.items():
        column = group.column(position)
        if not 0 <= rows <= column.num_values or column.total_uncompressed_size < 0:
            raise ValueError(
                f"{column.num_values} values ({column.total_uncompressed_size} bytes) in column "
                f"'{name}' for {rows} rows"
            )
        size += column.total_uncompressed_size
        if schema.nested and name == schema.passage.column:
            pairs = max(pairs, column.num_values)
    return RowGroup(rows, pairs, size)
