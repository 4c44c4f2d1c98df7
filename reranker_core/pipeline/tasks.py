"""What runs as tasks, before and behind the replicas: encode and commit."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from reranker_core.checkpoint import open_checkpoint
from reranker_core.commit import commit
from reranker_core.config import ModelConfig
from reranker_core.encoding import encode_part
from reranker_core.pipeline import wire
from reranker_core.pipeline.job import Job
from reranker_core.storage import Store

if TYPE_CHECKING:
    from reranker_core.models import PairFormat


def encode(block: pa.Table, job: Job) -> pa.Table:
    """Parts as read → parts as token ids."""
    pair_format = _pair_format(job.config.model)
    encoded = []
    for row in wire.rows(block):
        part, table = wire.table_of_row(row)
        encoded.append(
            wire.row_of_encoded(part, encode_part(table, job.schema, pair_format, job.config))
        )
    return pa.concat_tables(encoded)


def commit_parts(block: pa.Table, job: Job) -> dict[str, list[Any]]:
    """Scored parts → their files and receipts in the store.

    What goes on to the driver is the receipts, and which replicas scored.
    """
    store = Store(job.config.output.path)
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


def _pair_format(model: ModelConfig) -> PairFormat:
    return _loaded_pair_format(model.model_dump_json())


@functools.lru_cache(maxsize=1)
def _loaded_pair_format(settings: str) -> PairFormat:
    """Loaded once a worker process, not once a part. A template would not be hashable."""
    # Here, so that processes that only commit load neither torch nor transformers.
    from reranker_core.models import FAMILIES, recognise

    model = ModelConfig.model_validate_json(settings)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # Ray runs a task a core already
    checkpoint = open_checkpoint(model)
    return FAMILIES[recognise(checkpoint, model.family)].pair_format(checkpoint, model)
