"""One loaded model in one actor, which scores parts and writes them."""

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

from reranker_core.device import is_lost, may_pass, release_memory, resolve_device, take_share
from reranker_core.encode.part import EncodedPart
from reranker_core.encode.sequences import TokenSequences
from reranker_core.errors import PreflightRefused, ReuseRefused, brief
from reranker_core.garbage import few_collections
from reranker_core.input.plan import Part
from reranker_core.models.scores import Scores
from reranker_core.output.results import ScoredPart
from reranker_core.pipeline import code, receipts, wire
from reranker_core.pipeline.asking import ask, end_with
from reranker_core.pipeline.failures import as_ours
from reranker_core.pipeline.job import Job
from reranker_core.pipeline.life import signs_of_life
from reranker_core.pipeline.tasks import commit_part
from reranker_core.pipeline.telling import Telling
from reranker_core.preflight.agreement import Finding, Verdict
from reranker_core.preflight.fleet import Origin
from reranker_core.score.poison import Caution

if TYPE_CHECKING:
    from reranker_core.score.scorer import Scorer

log = logging.getLogger(__name__)

_BEAT_SECONDS = 10.0  # at least, between two signs of life of a replica
_STALLS_TO_LOAD = 3  # times guard.max_stall_seconds, in which a replica that computes may load
_PAUSES = (5.0, 30.0)  # seconds, between attempts to load the model


class Replica:
    """A scorer that asks the coordinator first.

    It asks for permission to score in its constructor. If it is set aside there, the constructor
    does not return: so Ray gives it no part, and its GPU to nobody else. An error that ends the run
    is raised at the first part, because Ray converts errors of an actor's constructor to text, and
    the driver needs the original error.
    """

    def __init__(self, job: Job, threads: int, coordinator: ActorHandle) -> None:
        self._coordinator = coordinator
        self._job = job
        self._error: Exception | None = None
        self._holds = False
        self._told = 0.0
        self._turn = threading.Lock()
        self._origin = _origin()
        threading.Thread(target=end_with, args=(coordinator,), daemon=True, name="end").start()
        Telling(coordinator, self._origin.process).begin()
        try:
            self._follow(ask(coordinator, "load", self._origin) or self._start(threads))
        except Exception as error:  # noqa: BLE001 - it is raised, later
            self._error = error
        self._free_since = time.perf_counter()

    def __call__(self, block: pa.Table) -> pa.Table:
        """The receipts of the parts of a block; none where others are to score them."""
        if self._error is not None:
            raise self._error
        if self._holds:
            ask(self._coordinator, "hold", self._origin.actor)
            return receipts.packed([], self._origin.process)
        found = [self._score(row) for row in wire.rows(block)]
        written = [receipt for receipt in found if receipt is not None]
        return receipts.packed(written, self._origin.process)

    def _start(self, threads: int) -> Verdict:
        """Load and check the model; what the coordinator says to the outcome."""
        try:
            code.require(self._job.code)
            longest = _STALLS_TO_LOAD * self._job.config.guard.max_stall_seconds
            with signs_of_life(self._coordinator.batch_done.remote, longest):
                self._scorer = _load(self._job, threads)
        except PreflightRefused as refused:
            failed = [check for check in refused.report.get("checks", ()) if not check["passed"]]
            names = [f"{check['group']}/{check['name']}" for check in failed]
            pairs = zip(names, failed, strict=True)
            problem = "; ".join(f"{name}: {check['measured']}" for name, check in pairs)
            problem = problem or brief(refused)
            finding = Finding(
                self._origin, "", (), refused, " ".join(names), problem, refused.report
            )
        except Exception as error:
            log.exception("the model cannot be loaded here")
            ours = as_ours(error, "loading the model")
            finding = Finding(self._origin, "", (), ours, type(error).__name__, brief(error), {})
        else:
            report = self._scorer.report
            finding = Finding(
                self._origin, report.dtype, report.canaries, None, "", "", report.as_dict()
            )
            self._scorer.on_batch(self._batch_done)
        found: Verdict = ask(self._coordinator, "admit", finding)
        return found

    def _follow(self, verdict: Verdict) -> None:
        if verdict.action == "restart":
            os._exit(1)  # Ray starts another process in its place
        if verdict.action == "end" and verdict.error is not None:
            raise verdict.error
        self._holds = verdict.action == "hold"

    def _score(self, row: dict[str, pa.Scalar]) -> bytes | None:
        """The receipt of the part. It is unpacked and written while others may be computed."""
        part, encoded = wire.encoded_of_row(row)
        with self._turn:
            found = self._compute(part, encoded)
        if found is None:
            return None
        scores, measures = found
        try:
            scored = ScoredPart.of(encoded, scores, self._job.config.model)
        except ReuseRefused as refused:
            raise ReuseRefused(f"part {part.name}: {refused}") from None
        return commit_part(part, scored, measures, self._job, self._coordinator)

    def _compute(self, part: Part, encoded: EncodedPart) -> tuple[Scores, dict[str, Any]] | None:
        """The scores, and what their receipt tells; None if another device is to score the part."""
        start = time.perf_counter()
        waited = start - self._free_since
        caution = ask(self._coordinator, "begin", "score", part.name, self._origin.device)
        if caution is not None and caution.elsewhere:
            return None
        try:
            scores = self._scores(part.name, encoded.sequences, caution)
        except Exception as error:
            if is_lost(error, self._scorer.device):
                log.exception("part %s: the device failed; this process ends", part.name)
                ask(self._coordinator, "lost", part.name, self._origin, brief(error))
                os._exit(1)
            if ask(self._coordinator, "fails", part.name, self._origin, brief(error)):
                log.exception("part %s failed here; another device is to score it", part.name)
                return None
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
        return scores, measures

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


def _origin() -> Origin:
    context = ray.get_runtime_context()
    host = os.uname().nodename
    node = f"{host} ({context.get_node_id()[:8]})"
    gpus = context.get_accelerator_ids().get("GPU", [])
    device = f"GPU {', '.join(map(str, gpus))} of node {node}" if gpus else ""
    return Origin(context.get_actor_id(), f"{host}:{os.getpid()}", node, device)


def _load(job: Job, threads: int) -> Scorer:
    """The scorer. What may pass is tried again: memory that another process still holds, a disk or
    a network that fails.
    """
    # Here: the driver, which names the class `Replica`, need not import transformers' layers.
    with few_collections():
        from reranker_core.score.loading import load_scorer

    torch.set_num_threads(threads)
    take_share(job.config.replicas.num_gpus or 1)
    for pause in _PAUSES:
        try:
            return load_scorer(job.config, job.model, job.pairs)
        except Exception as error:
            if not may_pass(error):
                raise
            log.warning(
                "the model cannot be loaded (%s); trying again in %g s", brief(error), pause
            )
        # Not in the handler: there, the traceback holds what was loaded.
        release_memory(torch.device(resolve_device(job.config.model.device)))
        time.sleep(pause)
    return load_scorer(job.config, job.model, job.pairs)
