"""Committing the keys of a part, between its data file and its receipt.

Like all that is written after the data file, keys are computed from it: of several attempts, all
write the same hashes and scores. The day of new scores may differ, so the first object stays.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa

from reranker_core.config import OutputConfig
from reranker_core.input.pairs import Status
from reranker_core.output.results import ScoredPart
from reranker_core.reuse.keys import (
    CHUNKS,
    DAY,
    SCORE,
    TOKENS_LOST,
    from_bytes,
    key_table,
    keys_name,
    layer_column,
    to_bytes,
    today,
)
from reranker_core.storage.store import Listed, Store


def commit_keys(
    store: Store,
    part: str,
    scored: ScoredPart,
    output: OutputConfig,
    oldest: int | None = None,
) -> dict[str, Any]:
    """Write the keys of a part, unless they exist; what its receipt says of them.

    Args:
        store: the output.
        part: its name.
        scored: what its data file has.
        output: the configuration of the columns.
        oldest: the first day of an old score in the data file; None without one.

    """
    if scored.keys is None:
        return {}
    day = today()
    if oldest is not None and oldest != scored.reuse.get("oldest"):
        day = oldest  # of another attempt's file: it is not known which of its scores are old
    columns: dict[str, Any] = {SCORE: scored.score}
    columns |= {layer_column(layer): values for layer, values in scored.layers.items()}
    if output.chunks:
        columns[CHUNKS] = scored.chunks
    if output.tokens_lost:
        columns[TOKENS_LOST] = scored.lost
    table = key_table(scored.keys, scored.status == Status.SCORED, columns, day)
    data, name = to_bytes(table), keys_name(part)
    if not store.create(name, data):
        theirs = store.read(name)
        # Others only if a removed part was committed again while its keys were on their way.
        if theirs != data and _same(theirs, table):
            data = theirs
        elif theirs != data:
            store.write(name, data)
    return {
        "pairs": table.num_rows,
        "size": len(data),
        "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
    }


def check_keys(store: Store, part: str, listed: Listed, stated: dict[str, Any]) -> list[str]:
    """Differences of the keys of a part from what its receipt says of them.

    The object is read only if the listing has no MD5, or another one.
    """
    if listed.size != stated["size"]:
        return [f"has {listed.size} bytes, but {stated['size']} bytes were committed"]
    if listed.md5 == stated["md5"]:
        return []
    found = hashlib.md5(store.read(keys_name(part)), usedforsecurity=False).hexdigest()
    return [] if found == stated["md5"] else ["its content differs from what was committed (MD5)"]


def _same(data: bytes, table: pa.Table) -> bool:
    """Whether these are the same keys, of whatever days."""
    try:
        found = from_bytes(data)
        return bool(found.drop_columns(DAY).equals(table.drop_columns(DAY)))
    except (pa.ArrowException, OSError, KeyError):
        return False
