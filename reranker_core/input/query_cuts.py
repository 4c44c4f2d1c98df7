"""Flat shards and ranks: a query's rows must stand together, and no cut may divide them.

Reads only the query id column, and keeps only the cuts, and eight bytes for each query.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from reranker_core.errors import InputError
from reranker_core.input.shards import open_shard


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


def check_query_order(urls: list[str], query_id: str) -> None:
    """Refuse a query that goes on in another shard, or returns after others.

    Raises:
        InputError: naming both places.

    """
    seen = np.concatenate(
        [
            np.fromiter(map(hash, ids.to_pylist()), np.int64, len(ids))
            for url in urls
            for _, ids in _runs(url, query_id)
        ]
        or [np.empty(0, np.int64)]
    )
    distinct, counts = np.unique(seen, return_counts=True)
    suspects = set(distinct[counts > 1].tolist())
    if not suspects:
        return
    # Equal hashes need not be equal ids.
    places: dict[Any, tuple[str, int]] = {}
    for url in urls:
        for rows, ids in _runs(url, query_id):
            for row, value in zip(rows, ids.to_pylist(), strict=True):
                if hash(value) not in suspects:
                    continue
                if value in places:
                    before, first = places[value]
                    raise InputError(
                        f"output.rank=true, but a query of {before} (from row {first}) goes on in "
                        f"{url} (row {row}); a rank needs all candidates of a query in adjacent "
                        "rows of one shard. Sort the rows by query and write them so, or set "
                        "output.rank=false"
                    )
                places[value] = (url, row)


def _runs(url: str, query_id: str) -> Iterator[tuple[list[int], pa.Array]]:
    """The rows where another query begins, and its id, batch by batch."""
    position, last = 0, None
    with open_shard(url) as file:
        for batch in file.iter_batches(columns=[query_id]):
            ids = batch.column(0)
            ids = ids.dictionary_decode() if pa.types.is_dictionary(ids.type) else ids
            if not len(ids):
                continue
            codes = ids.dictionary_encode(null_encoding="encode").indices.to_numpy(False)
            starts = np.flatnonzero(np.diff(codes)) + 1
            if not position or ids[0] != last:
                starts = np.concatenate([[0], starts])
            yield (starts + position).tolist(), ids.take(pa.array(starts, pa.int64()))
            position += len(ids)
            last = ids[-1]
