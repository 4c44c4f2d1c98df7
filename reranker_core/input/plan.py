"""The plan of a run: its shards and parts.

A part is a range of rows of one shard: some whole row groups, or a slice of one large row group.
Only footers are read. The name of a part depends on the shard's name, its etag and the rows. It
does not depend on time, cluster size or the other shards.
"""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate

from reranker_core.config import Config
from reranker_core.input.companions import check_row_groups
from reranker_core.input.footers import RowGroup, read_footers, row_groups
from reranker_core.input.partitions import key_folders, key_values
from reranker_core.input.query_cuts import check_query_order, move_to_query_starts
from reranker_core.input.schema import InputSchema
from reranker_core.input.shards import ShardFile, list_shards
from reranker_core.input.survey import survey

# Of a part with `plan.part_rows=auto`. 64 fast GPUs score 36 small parts a second, and one driver
# cannot do much more; see "A thousand replicas" in docs/performance.md.
_ROWS, _ROWS_ON_GPUS = 8192, 65_536


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
    folders: str = ""  # those of its path that name partition keys and their values
    seen: str = ""  # the etag of the file as it was found, where `etag` is an older one of it

    @property
    def rows(self) -> int:
        """Number of input rows."""
        return self.stop - self.start


@dataclass(frozen=True)
class Shard:
    """A shard file with its footer."""

    file: ShardFile
    row_groups: tuple[RowGroup, ...]
    folders: str = ""  # those of its path that name partition keys and their values

    @property
    def rows(self) -> int:
        """Number of rows in the footer."""
        return sum(group.rows for group in self.row_groups)


@dataclass(frozen=True)
class Plan:
    """All parts of a run, in the order of the input.

    Attributes:
        schema: the columns.
        shards: the input files.
        parts: their parts.
        passed_over: number of skipped names, by reason.
        snapshots: version of each table, by the name of its folder.
        as_first: whether the output has exactly the columns and types of the first shard.
        not_kept: differences between input and output columns, one line each.

    """

    schema: InputSchema
    shards: tuple[Shard, ...]
    parts: tuple[Part, ...]
    passed_over: dict[str, int] = field(default_factory=dict)
    snapshots: dict[str, int] = field(default_factory=dict)
    as_first: bool = True
    not_kept: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of input rows of all parts."""
        return sum(shard.rows for shard in self.shards)

    @property
    def pairs(self) -> int:
        """Number of pairs in the footers."""
        return sum(part.pairs for part in self.parts)

    @property
    def input_bytes(self) -> int:
        """Size of all shard files in bytes."""
        return sum(shard.file.size for shard in self.shards)

    def known_as(self, etags: Mapping[str, str]) -> Plan:
        """The same plan with other ETags in the names of parts, for shards whose modification time
        has changed but not their content.
        """
        if not etags:
            return self
        shards = {shard.file.name: shard for shard in self.shards}
        for name, etag in etags.items():
            shards[name] = replace(shards[name], file=replace(shards[name].file, etag=etag))

        def known(part: Part) -> Part:
            if part.shard_name not in etags:
                return part
            file = shards[part.shard_name].file
            name = _part_name(file, part.start, part.stop)
            return replace(part, name=name, etag=file.etag, seen=part.etag)

        return replace(self, shards=tuple(shards.values()), parts=tuple(map(known, self.parts)))


def make_plan(config: Config, begun: Mapping[str, int] | None = None) -> Plan:
    """List the shards, read and check their footers, and cut them into parts.

    Args:
        config: the configuration of the run.
        begun: versions of tables to read instead of the newest ones, by name.

    Raises:
        InputError: a shard is missing or unreadable, or its columns do not fit.

    """
    listing = list_shards(config, begun)
    files = listing.shards
    footers = read_footers(files)
    folders = key_folders(files)
    found = survey(files, footers, folders, config)
    schema = found.schema
    shards = [
        Shard(file, row_groups(footer.metadata, schema, file.url), keys)
        for file, footer, keys in zip(files, footers, folders, strict=True)
    ]
    check_row_groups([file.url for file in files], footers, schema, config)
    parts: list[Part] = []
    by_query = config.output.rank and not schema.nested
    query_of = {
        shard.file.url: key_values(shard.folders, shard.file.url)[schema.query_id]
        for shard, footer in zip(shards, footers, strict=True)
        if by_query and footer.rows and schema.query_id not in footer.arrow.names
    }
    for shard in shards:
        cuts = cut(shard.row_groups, part_rows(config), config.plan.part_bytes)
        if shard.file.url in query_of:  # a shard whose folder names the query has but one
            cuts = [(0, shard.rows)]
        elif by_query:
            cuts = move_to_query_starts(cuts, shard.file.url, schema.query_id)
        parts.extend(_parts_of(shard, cuts))
    if by_query:
        urls = [shard.file.url for shard in shards if shard.rows]
        check_query_order(urls, schema.query_id, schema.type_of(schema.query_id), query_of)
    return Plan(
        schema,
        tuple(shards),
        tuple(parts),
        listing.passed_over,
        listing.snapshots,
        found.as_first,
        found.not_kept,
    )


def part_rows(config: Config) -> int:
    """The number for `plan.part_rows`. `auto` depends on configuration keys only, so the parts of
    an output do not change when it is resumed or when shards are added.
    """
    if config.plan.part_rows != "auto":
        return config.plan.part_rows
    gpus = config.model.device != "cpu" and (
        config.model.device == "cuda" or bool(config.replicas.num_gpus)
    )
    return _ROWS_ON_GPUS if gpus else _ROWS


def cut(row_groups: Iterable[RowGroup], part_rows: int, part_bytes: int) -> list[tuple[int, int]]:
    """Row ranges of parts of at most `part_rows` pairs and about `part_bytes` decoded bytes.

    Whole row groups are joined as long as they fit. A row group that is too large is cut into
    slices of equal size.
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
    """Groups of parts that one read task reads together: the slices of one large row group.
    Otherwise the row group would be fetched and decoded again for each slice.
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


def _parts_of(shard: Shard, cuts: list[tuple[int, int]]) -> Iterator[Part]:
    density = sum(group.pairs for group in shard.row_groups) / max(shard.rows, 1)
    for start, stop in cuts:
        yield Part(
            name=_part_name(shard.file, start, stop),
            shard=shard.file.url,
            shard_name=shard.file.name,
            etag=shard.file.etag,
            start=start,
            stop=stop,
            pairs=round((stop - start) * density),
            folders=shard.folders,
        )


def _part_name(file: ShardFile, start: int, stop: int) -> str:
    stem = re.sub(r"[^A-Za-z0-9-]+", "-", file.name.removesuffix(".parquet"))
    stem = stem.strip("-")[-64:] or "shard"
    identity = f"{file.name}\0{file.size}\0{file.etag}\0{start}\0{stop}"
    return f"{stem}-{start:010d}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
