"""The plan of a run: its shards, and the parts they are cut into.

A part is a run of rows of one shard. Cuts follow row groups, so that a part is either some whole
row groups or a slice of one large row group; only footers are read. A part's name depends on the
shard's name, its etag and the rows, never on timing, cluster size or what else is in the run.
"""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.config import Config
from reranker_core.errors import InputError
from reranker_core.input.kinds import unreadable
from reranker_core.input.query_cuts import check_query_order, move_to_query_starts
from reranker_core.input.schema import InputSchema, check_schema, common_schema, resolve_schema
from reranker_core.input.shards import ShardFile, list_shards
from reranker_core.storage.filesystem import open_filesystem, open_to_read

_FOOTER_THREADS = 16
_SHOWN_PROBLEMS = 10


@dataclass(frozen=True, slots=True)
class Part:
    """Rows `start` to `stop` (exclusive) of one shard."""

    name: str
    shard: str  # URL
    shard_name: str  # below input.path
    etag: str
    start: int
    stop: int
    pairs: int  # from the footer: exact for flat shards, an estimate for nested ones

    @property
    def rows(self) -> int:
        """Number of input rows."""
        return self.stop - self.start


@dataclass(frozen=True)
class RowGroup:
    """What the footer says of a row group, restricted to the columns that are read."""

    rows: int
    pairs: int
    bytes: int


@dataclass(frozen=True)
class Shard:
    """A shard file with its footer."""

    file: ShardFile
    row_groups: tuple[RowGroup, ...]

    @property
    def rows(self) -> int:
        """Rows by the footer."""
        return sum(group.rows for group in self.row_groups)


@dataclass(frozen=True)
class Plan:
    """All parts of a run, in the order of the input."""

    schema: InputSchema
    shards: tuple[Shard, ...]
    parts: tuple[Part, ...]
    passed_over: dict[str, int] = field(default_factory=dict)  # names, by reason
    snapshots: dict[str, int] = field(default_factory=dict)  # of tables, by name

    @property
    def rows(self) -> int:
        """Input rows of all parts."""
        return sum(shard.rows for shard in self.shards)

    @property
    def pairs(self) -> int:
        """Pairs by the footers."""
        return sum(part.pairs for part in self.parts)

    @property
    def input_bytes(self) -> int:
        """Bytes of all shard files."""
        return sum(shard.file.size for shard in self.shards)


def make_plan(config: Config, begun: Mapping[str, int] | None = None) -> Plan:
    """List the shards, read and check their footers, cut them into parts.

    Args:
        config: of the run.
        begun: which versions of tables to read in place of the newest ones, by name.

    Raises:
        InputError: a shard is missing or unreadable, or its columns do not fit.

    """
    listing = list_shards(config, begun)
    files = listing.shards
    footers = _read_footers(files)
    schemas = [footer.schema.to_arrow_schema() for footer in footers]
    # Shards without rows often have guessed types; they count only where there is nothing else.
    filled = [i for i, footer in enumerate(footers) if footer.num_rows] or [0]
    common = common_schema([schemas[i] for i in filled])
    schema = resolve_schema(common, config, files[filled[0]].url)
    for i in filled:
        check_schema(schemas[i], schema, common, files[i].url)
    shards = [
        Shard(file, tuple(_row_groups(footer, schema)))
        for file, footer in zip(files, footers, strict=True)
    ]
    parts: list[Part] = []
    by_query = config.output.rank and not schema.nested
    for shard in shards:
        cuts = cut(shard.row_groups, config.plan.part_rows, config.plan.part_bytes)
        if by_query:
            cuts = move_to_query_starts(cuts, shard.file.url, schema.query_id)
        parts.extend(_parts_of(shard, cuts))
    if by_query:
        check_query_order([shard.file.url for shard in shards if shard.rows], schema.query_id)
    return Plan(schema, tuple(shards), tuple(parts), listing.passed_over, listing.snapshots)


def cut(row_groups: Iterable[RowGroup], part_rows: int, part_bytes: int) -> list[tuple[int, int]]:
    """Row ranges of parts of at most `part_rows` pairs and about `part_bytes` decoded bytes.

    Whole row groups are gathered until the next would not fit; one that is too large by itself is
    sliced evenly.
    """
    cuts: list[tuple[int, int]] = []
    begin = position = 0
    filled = 0.0

    def close() -> None:
        nonlocal begin, filled
        if position > begin:
            cuts.append((begin, position))
        begin, filled = position, 0.0

    for group in row_groups:
        share = max(group.pairs / part_rows, group.bytes / part_bytes)
        if filled + share > 1:
            close()
        if share > 1:
            step = math.ceil(group.rows / math.ceil(share))
            end = position + group.rows
            while position < end:
                position = min(position + step, end)
                close()
        else:
            position += group.rows
            filled += share
    close()
    return cuts


def read_groups(parts: Iterable[Part], plan: Plan) -> Iterator[list[Part]]:
    """Parts that one read task should read together: the slices of one large row group, which
    would otherwise be fetched and decoded again for each slice.
    """
    starts = {
        shard.file.url: [0, *accumulate(group.rows for group in shard.row_groups)]
        for shard in plan.shards
    }
    gathered: list[Part] = []
    for part in parts:
        row_groups = starts[part.shard]
        index = bisect_right(row_groups, part.start) - 1
        within = bool(gathered) and row_groups[index] <= gathered[0].start < part.start
        if gathered and not (gathered[0].shard == part.shard and within):
            yield gathered
            gathered = []
        gathered.append(part)
    if gathered:
        yield gathered


def _read_footers(files: Sequence[ShardFile]) -> list[pq.FileMetaData]:
    def read(file: ShardFile) -> pq.FileMetaData | str:
        if file.size == 0:
            return f"{file.url}: is empty (0 bytes); expected a Parquet file"
        filesystem, path = open_filesystem(file.url)
        try:
            with open_to_read(filesystem, path) as stream:
                return pq.ParquetFile(stream).metadata
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
    return footers


def _row_groups(metadata: pq.FileMetaData, schema: InputSchema) -> Iterator[RowGroup]:
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


def _parts_of(shard: Shard, cuts: list[tuple[int, int]]) -> Iterator[Part]:
    density = sum(group.pairs for group in shard.row_groups) / max(shard.rows, 1)
    stem = re.sub(r"[^A-Za-z0-9-]+", "-", shard.file.name.removesuffix(".parquet"))
    stem = stem.strip("-")[-64:] or "shard"
    for start, stop in cuts:
        identity = f"{shard.file.name}\0{shard.file.size}\0{shard.file.etag}\0{start}\0{stop}"
        digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
        yield Part(
            name=f"{stem}-{start:010d}-{digest}",
            shard=shard.file.url,
            shard_name=shard.file.name,
            etag=shard.file.etag,
            start=start,
            stop=stop,
            pairs=round((stop - start) * density),
        )
