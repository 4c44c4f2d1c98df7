"""Scoring the remaining parts of a run: stages, progress, and parts that devices gave back."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import ray

from reranker_core.errors import Incomplete, count
from reranker_core.input.plan import Part
from reranker_core.output.attempts import Recorder
from reranker_core.output.checksums import recording
from reranker_core.output.lease import Lease
from reranker_core.output.receipts import Gatherer
from reranker_core.pipeline.asking import silence_of
from reranker_core.pipeline.cluster import describe, living_nodes
from reranker_core.pipeline.coordination import coordinated
from reranker_core.pipeline.driver_load import DriverLoad
from reranker_core.pipeline.job import Job
from reranker_core.pipeline.metrics import Metrics
from reranker_core.pipeline.news import News
from reranker_core.pipeline.placement import Placement
from reranker_core.pipeline.preflights import Preflights
from reranker_core.pipeline.receipts import received
from reranker_core.pipeline.stages import stages
from reranker_core.pipeline.state import State
from reranker_core.pipeline.watch import watched
from reranker_core.preflight.fleet import Fleet
from reranker_core.prepare import Prepared
from reranker_core.report.progress import Progress
from reranker_core.report.progress_file import ProgressFile

log = logging.getLogger(__name__)

_BEFORE_STALL = 0.9
_FAILED_ROUNDS = 3  # in which no part that other devices gave back could be scored


def score(
    prepared: Prepared, job: Job, placement: Placement, lease: Lease, recorder: Recorder
) -> None:
    """Score the remaining parts, and record what is done.

    Raises:
        RerankError: a subclass, each with its exit code.

    """
    enforced = job.config.preflight.checks.agreement == "refuse"
    with coordinated(_fleet(job, placement), enforced) as coordinator:
        _rounds(prepared, job, placement, lease, recorder, coordinator)


def _rounds(
    prepared: Prepared,
    job: Job,
    placement: Placement,
    lease: Lease,
    recorder: Recorder,
    coordinator: Any,
) -> None:
    """Run the stages until all parts are committed.

    Parts that a replica gave back, because its device is lost or may be faulty, are scored again
    after all others, on other devices.
    """
    store = prepared.store
    preflights = Preflights(store, coordinator, job.config.preflight.checks, recorder)
    gatherer = Gatherer(store, list(prepared.outstanding.singles))
    left = {part.name for part in prepared.todo}
    nodes = len(living_nodes())

    def waiting_for() -> str:
        parts = count(len(left), "part")
        aside = news.aside_in_words()
        return (
            f"{parts} not committed yet, such as {min(left)}; {describe(nodes, placement)}"
            f"{aside and f'; {aside}'}"
        )

    def check() -> None:
        lease.check()
        news.tell()

    longest = job.config.guard.max_stall_seconds
    parts, failed_rounds = prepared.todo, 0
    metrics, load = Metrics(job.run), DriverLoad(max(part.pairs for part in parts))
    with (
        Progress(prepared.plan, prepared.todo) as progress,
        ProgressFile(store) as file,
        preflights,
        recording(store, prepared.plan),
    ):
        log.info("%s to score by up to %s", count(len(parts), "part"), placement)
        news = News(coordinator, progress, placement.max, left, metrics, file)
        while parts:
            found = received(stages(job, prepared, parts, placement, coordinator))
            silence = partial(silence_of, coordinator)
            for receipt, replica in watched(found, check, waiting_for, longest, silence):
                preflights.seen(replica)
                left.discard(receipt.part)
                gatherer.add(receipt)
                progress.advance(receipt)
                metrics.committed(receipt)
                load.committed(receipt)
                recorder.add(receipt)
            news.tell(every=0)  # what has happened since, which a short run would not tell
            failed_rounds = failed_rounds + 1 if len(left) == len(parts) else 0
            parts = tuple(part for part in parts if part.name in left)
            if parts:
                placement = _other_devices(job, coordinator, placement, parts, failed_rounds)


def _fleet(job: Job, placement: Placement) -> Fleet:
    """The replicas that may come: a GPU may be faulty, so that the first one alone decides nothing.
    That a CPU is faulty is not assumed.
    """
    # Before the run counts as stalled, so that the cause is told.
    longest = _BEFORE_STALL * job.config.guard.max_stall_seconds
    most = placement.max if placement.num_gpus else placement.fitting
    return Fleet(placement.fitting, most, longest)


def _other_devices(
    job: Job, coordinator: Any, placement: Placement, parts: tuple[Part, ...], failed_rounds: int
) -> Placement:
    """The replicas for parts that were given back: so many that not all of them can be on devices
    that are set aside or may be faulty.

    Raises:
        Incomplete: again and again no part was scored.

    """
    state: State = ray.get(coordinator.state.remote())
    if failed_rounds >= _FAILED_ROUNDS:
        raise Incomplete(
            f"{count(len(parts), 'part')} could not be scored on any device that tried, such as "
            f"{parts[0].name}; {'; '.join(state.troubles[-3:])}. Committed parts are kept. Run the "
            "same command again to resume"
        )
    most = min(placement.max, len(parts) + state.suspected)
    log.warning("%s left, to be scored on other devices", count(len(parts), "part"))
    fewer = placement.at_most(most)
    ray.get(coordinator.score_again.remote(_fleet(job, fewer)))
    return fewer
