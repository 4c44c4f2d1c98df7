"""One loaded model in one actor, which scores parts."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import ray
import torch
from ray.actor import ActorHandle

from reranker_core.device import is_lost, take_share
from reranker_core.encode.sequences import TokenSequences
from reranker_core.errors import PreflightRefused
from reranker_core.models.scores import Scores
from reranker_core.output.results import ScoredPart
from reranker_core.pipeline import code, wire
from reranker_core.pipeline.coordinator import answer, ask, end_with
from reranker_core.pipeline.job import Job
from reranker_core.preflight.agreement import Finding, Verdict
from reranker_core.score.poison import Caution

if TYPE_CHECKING:
    from reranker_core.score.scorer import Scorer

log = logging.getLogger(__name__)

_BEAT_SECONDS = 10.0  # at least, between two signs of life of a replica


class Replica:
    """A scorer that asks the coordinator first.

    It asks for permission to score at the first part. Errors while loading are also raised there,
    because Ray converts errors of an actor's constructor to text, and the driver needs the
    original error.
    """

    def __init__(self, job: Job, threads: int, coordinator: ActorHandle) -> None:
        self._coordinator = coordinator
        self._model = job.config.model
        self._error: Exception | None = None
        self._name = f"{os.uname().nodename}:{os.getpid()}"
        self._admitted = False
        self._told = 0.0
        self._free_since: float | None = None
        threading.Thread(target=end_with, args=(coordinator,), daemon=True, name="end").start()
        context = ray.get_runtime_context()
        node = f"node {os.uname().nodename} ({context.get_node_id()[:8]})"
        replica = f"{node}, replica {context.get_actor_id()[:8]}"
        try:
            code.require(job.code)
            ask(coordinator, "load", replica)
            self._scorer = _load(job, threads)
            ask(coordinator, "loaded", replica)
        except PreflightRefused as refused:
            ask(coordinator, "finish", "load", replica)
            finding = self._finding("", (), str(refused), refused.report)
        except Exception as error:  # noqa: BLE001 - it is raised, later
            self._error = error
            return
        else:
            report = self._scorer.report
            finding = self._finding(report.dtype, report.canaries, "", report.as_dict())
            self._scorer.on_batch(self._batch_done)
        self._verdict: Any = coordinator.admit.remote(finding)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Score the parts of a block."""
        if not self._admitted:
            self._ask()
        return pa.concat_tables([self._score(row) for row in wire.rows(block)])

    def _finding(
        self, dtype: str, canaries: tuple[float, ...], refused: str, report: dict[str, Any]
    ) -> Finding:
        node = ray.get_runtime_context().get_node_id()
        name = f"{os.uname().nodename} ({node[:8]})"
        return Finding(self._name, name, dtype, canaries, refused, report)

    def _ask(self) -> None:
        if self._error is not None:
            raise self._error
        verdict: Verdict = answer(self._verdict)
        if verdict.action == "refuse":
            raise PreflightRefused(verdict.reason, verdict.report)
        if verdict.action == "leave":
            os._exit(1)  # Ray starts another one in its place
        self._admitted = True

    def _score(self, row: dict[str, pa.Scalar]) -> pa.Table:
        part, encoded = wire.encoded_of_row(row)
        start = time.perf_counter()
        waited = start - (self._free_since or start)
        caution = ask(self._coordinator, "begin", "score", part.name)
        try:
            scores = self._scores(part.name, encoded.sequences, caution)
        except Exception as error:
            if is_lost(error, self._scorer.device):
                log.exception("part %s: the device failed; this process ends", part.name)
                os._exit(1)
            raise
        measures = {
            "distinct": len(encoded.sequences.chunks),
            "tokens": int(encoded.sequences.tokens.lengths.sum()),
            "computed_tokens": scores.computed_tokens,
            "seconds": round(time.perf_counter() - start, 4),
            "waited": round(waited, 4),
            "special_tokens_in_text": encoded.special_tokens,
        }
        ask(self._coordinator, "finish", "score", part.name)
        self._free_since = time.perf_counter()
        notes = {"measures": measures, "replica": self._name}
        return wire.row_of_scored(part, ScoredPart.of(encoded, scores, self._model), notes)

    def _scores(self, part: str, sequences: TokenSequences, caution: Caution | None) -> Scores:
        if caution is None:
            return self._scorer.score(sequences)
        return self._scorer.score_warily(
            sequences,
            np.array(caution.fatal, np.int64),
            np.array(caution.suspects, np.int64),
            lambda rows: ask(self._coordinator, "announce", "score", part, rows.tolist()),
        )

    def _batch_done(self) -> None:
        if time.monotonic() - self._told >= _BEAT_SECONDS:
            self._told = time.monotonic()
            self._coordinator.batch_done.remote()


def _load(job: Job, threads: int) -> Scorer:
    # Here: the driver, which names the class `Replica`, need not import transformers' layers.
    from reranker_core.score.scorer import Scorer

    torch.set_num_threads(threads)
    take_share(job.config.replicas.num_gpus or 1)
    return Scorer.load(job.config, job.model, job.pairs)
