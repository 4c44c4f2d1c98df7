"""What runs as tasks, before and behind the replicas: encode and commit."""

from __future__ import annotations

import functools
import os
from typing import Any

import pyarrow as pa
import ray

from reranker_core.encode.formats.pair_format import PairFormat
from reranker_core.encode.part import encode_part
from reranker_core.output.commit import commit
from reranker_core.pipeline import wire
from reranker_core.pipeline.job import Job


def encode(block: pa.Table, job: Job, pair_format: list[ray.ObjectRef]) -> pa.Table:
    """Parts as read → parts as token ids.

    `pair_format` refers to the driver's, so that all nodes tokenize alike, and need no files of the
    model nor what reads them.
    """
    [reference] = pair_format
    found = _fetched(reference)
    encoded = []
    for row in wire.rows(block):
        part, table = wire.table_of_row(row)
        ids = encode_part(table, job.schema, found, job.config)
        encoded.append(wire.row_of_encoded(part, ids))
    return pa.concat_tables(encoded)


def commit_parts(block: pa.Table, job: Job) -> dict[str, list[Any]]:
    """Scored parts → their files and receipts in the store.

    What goes on to the driver is the receipts, and which replicas scored.
    """
    store = job.store
    receipts, replicas = [], []
    for row in wire.rows(block):
        part, scored, notes = wire.scored_of_row(row)
        job.fence.check(store)
        receipt = commit(
            store, part, scored, job.schema, job.config.output, notes["measures"], job.run
        )
        receipts.append(receipt.to_json())
        replicas.append(notes["replica"])
    return {"receipt": receipts, "replica": replicas}


@functools.lru_cache(maxsize=1)
def _fetched(pair_format: ray.ObjectRef) -> PairFormat:
    """Once a worker process, not once a part."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # Ray runs a task a core already
    found: PairFormat = ray.get(pair_format)
    return found
