"""What runs on the workers: encode and commit as tasks, scoring in actors."""

from __future__ import annotations

import functools
import json
import os
import time
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

from reranker_core.checkpoint import open_checkpoint
from reranker_core.commit import commit
from reranker_core.config import Config, ModelConfig
from reranker_core.encoding import encode_part
from reranker_core.models import FAMILIES, PairFormat, recognise
from reranker_core.pipeline import wire
from reranker_core.results import ScoredPart, output_table, quarantined
from reranker_core.schema import InputSchema
from reranker_core.scorer import Scorer
from reranker_core.storage import Store


@dataclass(frozen=True)
class Job:
    """What every stage knows of the run; small, and pickled to the workers."""

    config: Config
    schema: InputSchema
    run: str


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


class Replica:
    """One loaded model in one actor.

    What goes wrong while loading is kept until the first part and raised there: Ray reduces what
    an actor's constructor raises to text, and the driver needs the error itself.
    """

    def __init__(self, job: Job, threads: int) -> None:
        self._refusal: Exception | None = None
        torch.set_num_threads(threads)
        start = time.perf_counter()
        try:
            self._scorer = Scorer.load(job.config)
        except Exception as error:  # noqa: BLE001 - it is raised, later
            self._refusal = error
            return
        self._preflight = {
            "replica": f"{os.uname().nodename}:{os.getpid()}",
            "seconds": round(time.perf_counter() - start, 3),
            **self._scorer.report.as_dict(),
        }

    def __call__(self, block: pa.Table) -> pa.Table:
        """Score the parts of a block."""
        if self._refusal is not None:
            raise self._refusal
        return pa.concat_tables([self._score(row) for row in wire.rows(block)])

    def _score(self, row: dict[str, pa.Scalar]) -> pa.Table:
        part, encoded = wire.encoded_of_row(row)
        start = time.perf_counter()
        scores = self._scorer.score(encoded.sequences)
        measures = {
            "distinct": len(encoded.sequences),
            "tokens": int(encoded.sequences.tokens.lengths.sum()),
            "seconds": round(time.perf_counter() - start, 4),
        }
        notes = {"measures": measures, "preflight": self._preflight}
        return wire.row_of_scored(part, ScoredPart.of(encoded, scores), notes)


def commit_parts(block: pa.Table, job: Job) -> dict[str, list[Any]]:
    """Scored parts → their files and receipts in the store.

    What goes on to the driver is the receipts, and what the replicas' preflight measured.
    """
    store = Store(job.config.output.path)
    receipts, reports = [], []
    for row in wire.rows(block):
        part, scored, notes = wire.scored_of_row(row)
        receipt = commit(
            store,
            part,
            scored,
            output_table(scored, job.schema, job.config.output),
            quarantined(scored, job.schema, part.start),
            notes["measures"],
            job.run,
        )
        receipts.append(receipt.to_json())
        reports.append(json.dumps(notes["preflight"]))
    return {"receipt": receipts, "preflight": reports}


@functools.lru_cache(maxsize=1)
def _pair_format(model: ModelConfig) -> PairFormat:
    """Loaded once a worker process, not once a part."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # Ray runs a task a core already
    checkpoint = open_checkpoint(model)
    return FAMILIES[recognise(checkpoint, model.family)].pair_format(checkpoint, model)
