"""Ranks in flat shards: the rows of a query must be adjacent and in one part.

Only the query id column is read. Only the cuts and eight bytes per query are kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from reranker_core.errors import InputError
from reranker_core.input.shards import open_shard
from reranker_core.input.types.conversion import converted
from reranker_core.input.types.ids import comparable, numbers_of

_BATCH_ROWS = 8192


class DividedQuery(InputError):
    """The rows of a query are not adjacent, or in two shards; `where` is the sentence that says
    where.
    """

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where

    @property
    def message(self) -> str:
        """What happened, and what to do."""
        return (
            f"output.rank=true, but {self.where}. Ranks need all candidates of a query in adjacent "
            "rows of one shard. Sort the rows by query, or set output.rank=false"
        )


def move_to_query_starts(
    cuts: list[tuple[int, int]], url: str, query_id: str
) -> list[tuple[int, int]]:
    """Move each cut forward to the next row whose query id differs from the row before it."""
    if len(cuts) < 2:
        return cuts
    pending = [start for start, _ in cuts[1:]]
    moved = [0]
    for rows, _ in _runs(url, query_id):
        for start in rows:
            if pending and start >= pending[0]:
                moved.append(start)
                while pending and pending[0] <= start:
                    pending.pop(0)
    return list(zip(moved, [*moved[1:], cuts[-1][1]], strict=True))


def check_query_order(
    urls: list[str],
    query_id: str,
    kind: pa.DataType | None = None,
    keys: Mapping[str, str | None] | None = None,
) -> None:
    """Refuse a query that continues in another shard, or whose rows are not adjacent.

    Args:
        urls: the shards.
        query_id: position of the query id.
        kind: the common type of the ids of all shards; None if they have the same type.
        keys: the query ids of shards that have them in the name of a folder.

    Raises:
        DividedQuery: a query has rows in two places; the message names both.

    """

    def runs(url: str) -> Iterator[tuple[list[int], list[Any]]]:
        if keys and url in keys:
            yield [0], _plain(pa.array([keys[url]], pa.string()), kind).to_pylist()
            return
        for rows, ids in _runs(url, query_id, kind):
            yield rows, ids.to_pylist()

    seen = np.concatenate(
        [np.fromiter(map(hash, ids), np.int64, len(ids)) for url in urls for _, ids in runs(url)]
        or [np.empty(0, np.int64)]
    )
    distinct, counts = np.unique(seen, return_counts=True)
    suspects = set(distinct[counts > 1].tolist())
    if not suspects:
        return
    # Equal hashes need not be equal ids.
    places: dict[Any, tuple[str, int]] = {}
    for url in urls:
        for rows, ids in runs(url):
            for row, value in zip(rows, ids, strict=True):
                if hash(value) not in suspects:
                    continue
                if value in places:
                    before, first = places[value]
                    raise DividedQuery(
                        f"a query of {before} (from row {first}) continues in {url} (row {row})"
                        f"{_apart(before, url)}"
                    )
                places[value] = (url, row)


def _apart(one: str, other: str) -> str:
    """Which partition keys divide two shards."""
    steps = [step for step in other.split("/")[:-1] if "=" in step and step not in one.split("/")]
    return f"; the partition key {' and '.join(steps)} splits the query" if steps else ""


def _plain(ids: pa.Array, kind: pa.DataType | None) -> pa.Array:
    return comparable(ids if kind is None else converted(ids, kind))


def _runs(
    url: str, query_id: str, kind: pa.DataType | None = None
) -> Iterator[tuple[list[int], pa.Array]]:
    """The rows where another query begins, and its id, batch by batch."""
    position, last = 0, None
    with open_shard(url) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=[query_id]):
            ids = _plain(batch.column(batch.schema.get_field_index(query_id)), kind)
            if not len(ids):
                continue
            codes = numbers_of(ids)
            starts = np.flatnonzero(np.diff(codes)) + 1
            if not position or ids[0] != last:
                starts = np.concatenate([[0], starts])
            yield (starts + position).tolist(), ids.take(pa.array(starts, pa.int64()))
            position += len(ids)
            last = ids[-1]
