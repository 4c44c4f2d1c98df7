"""Moving the cuts of flat shards so that no query is divided, which ranks need.

Reads only the query id column, and keeps only the cuts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from reranker_core.errors import InputError
from reranker_core.shards import open_shard


def move_to_query_starts(
    cuts: list[tuple[int, int]], url: str, query_id: str
) -> list[tuple[int, int]]:
    """Move each cut forward to the next row whose query id differs from the row before it."""
    if len(cuts) < 2:
        return cuts
    pending = [start for start, _ in cuts[1:]]
    moved = [0]
    position, last = 0, None
    with open_shard(url) as file:
        for batch in file.iter_batches(columns=[query_id]):
            ids = _plain(batch.column(0))
            codes = ids.dictionary_encode(null_encoding="encode").indices.to_numpy(False)
            changed = np.diff(codes)
            starts = (changed.nonzero()[0] + position + 1).tolist()
            if position and len(ids) and ids[0] != last:
                starts.insert(0, position)
            for start in starts:
                if pending and start >= pending[0]:
                    moved.append(start)
                    while pending and pending[0] <= start:
                        pending.pop(0)
            position += len(ids)
            last = ids[-1] if len(ids) else last
    return list(zip(moved, [*moved[1:], cuts[-1][1]], strict=True))


def check_query_order(urls: list[str], query_id: str) -> None:
    """Refuse a query that goes on from one shard into the next.

    Raises:
        InputError: naming both shards.

    """
    before: tuple[str, Any] | None = None
    for url in urls:
        first, last = _ends(url, query_id)
        if before is not None and first == before[1]:
            raise InputError(
                f"output.rank=true, but the last query of {before[0]} goes on in {url}; a rank "
                "needs all candidates of a query in one shard. Write the shards so, or set "
                "output.rank=false"
            )
        before = (url, last)


def _ends(url: str, query_id: str) -> tuple[Any, Any]:
    with open_shard(url) as file:
        filled = [i for i in range(file.num_row_groups) if file.metadata.row_group(i).num_rows]
        first = file.read_row_group(filled[0], columns=[query_id]).column(0)
        last = file.read_row_group(filled[-1], columns=[query_id]).column(0)
        return _plain(first.chunk(0))[0], _plain(last.chunk(last.num_chunks - 1))[-1]


def _plain(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
