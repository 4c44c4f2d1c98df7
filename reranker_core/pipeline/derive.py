"""Deriving an output from another one's scores on Ray: read → take scores → commit → manifest."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from typing import Any

import ray

from reranker_core.errors import count
from reranker_core.input.plan import read_groups
from reranker_core.output.attempts import Recorder
from reranker_core.output.derivation import Derivation
from reranker_core.output.identity import (
    digest,
    identity,
    recorded,
    refuse_differences,
)
from reranker_core.output.inventory import outstanding
from reranker_core.output.lease import Lease
from reranker_core.output.manifest import begin, conclude, recorded_manifest, withdraw
from reranker_core.output.proof import prove
from reranker_core.output.receipts import Gatherer
from reranker_core.output.replacement import (
    begun,
    derived_store,
    discard,
    is_pending,
    make_ready,
    put_in_place,
)
from reranker_core.output.totals import Totals
from reranker_core.pipeline.asking import silence_of
from reranker_core.pipeline.cluster import hardware, living_nodes
from reranker_core.pipeline.connection import connected
from reranker_core.pipeline.coordination import coordinated
from reranker_core.pipeline.datasource import PartSource
from reranker_core.pipeline.failures import our_errors
from reranker_core.pipeline.job import Job
from reranker_core.pipeline.receipts import received
from reranker_core.pipeline.tasks import derive_parts
from reranker_core.pipeline.watch import watched
from reranker_core.preflight.fleet import Fleet
from reranker_core.prepare import Prepared, compare
from reranker_core.report.night import PREFLIGHT
from reranker_core.report.page import write_report
from reranker_core.report.progress import Progress
from reranker_core.report.provenance import configuration, provenance, software
from reranker_core.stopping import stop_on_signals
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)

# Of the old manifest: what is still true of the new output.
_KEPT = ("scored_as", "preflight_not_enforced")


def derive(derivation: Derivation) -> Totals:
    """Write the new output, or what is missing of it, with manifest and `_SUCCESS`.

    Raises:
        RerankError: a subclass, each with its exit code.

    """
    config, plan, scoring = derivation.config, derivation.plan, derivation.fingerprint
    store = Store(config.output.path)
    with Lease.acquire(store) as lease:
        whose = _commit_all(derivation, store, recorded(store), lease, (store, lease))
        source = derivation.source.store
        if source.exists(PREFLIGHT):
            store.write(PREFLIGHT, source.read(PREFLIGHT))
        lease.confirm()
        old = recorded_manifest(source)
        facts = {
            **provenance(plan, scoring, config),
            "fingerprint": scoring,
            "derived_from": source.shown,
            "passed_over": plan.passed_over,
            "not_kept": list(plan.not_kept),
            **{name: old[name] for name in _KEPT if name in old},
        }
        try:
            return conclude(store, whose, config, facts)
        finally:
            write_report(store)


def with_columns(prepared: Prepared, lease: Lease) -> Prepared:
    """The run, once the parts in its output have the columns of this run.

    What a change of columns needs is derived to a folder in the output, proven there, and then put
    in place. Killed at any moment, the next run goes on with it.
    """
    store = prepared.store
    if is_pending(store):
        prepared = _put_in_place(prepared, lease)
    if prepared.derivation is not None:
        _derive_within(prepared.derivation, store, lease)
        prepared = _put_in_place(prepared, lease)
    else:
        discard(store)  # of a change that was given up
    return prepared


def _derive_within(derivation: Derivation, store: Store, lease: Lease) -> None:
    target = derived_store(store)
    with Lease.acquire(target) as inner:
        before = begun(store)
        whose = identity(derivation.fingerprint, derivation.plan, derivation.config, before)
        if before != whose:
            discard(store, but_lease=True)
            before = None
        whose = _commit_all(derivation, target, before, inner, (store, lease))
        prove(target, whose, derivation.config.verify.read == "all", may_lack_rows=True)
        inner.confirm()
        lease.confirm()
        make_ready(store)


def _put_in_place(prepared: Prepared, lease: Lease) -> Prepared:
    withdraw(prepared.store)
    put_in_place(prepared.store, lease.check)
    return compare(prepared)


def _commit_all(
    derivation: Derivation,
    store: Store,
    before: dict[str, Any] | None,
    lease: Lease,
    told: tuple[Store, Lease],
) -> dict[str, Any]:
    """Commit the parts that are missing in `store`, and return the identity of the new output.

    `told` is the output that records the attempt, and the lease on it.
    """
    config, plan, scoring = derivation.config, derivation.plan, derivation.fingerprint
    started = time.time()
    whose = identity(scoring, plan, config, before)
    if before is not None:
        refuse_differences(store, before, whose, config)
    left = outstanding(store, plan, digest(whose))
    derived = {part.name for part in derivation.parts}
    todo = tuple(part for part in left.todo if part.name in derived)
    lease.confirm()
    begin(store, whose, before, left)
    if not todo:
        return whose
    with connected(config), our_errors():
        stop_on_signals()  # again: ray.init sets handlers of its own
        job = Job.of(config, plan, whose, store, lease.fence)
        recorder = Recorder(
            told[0],
            told[1].fence.number,
            started,
            parts_to_score=len(todo),
            pairs_to_score=sum(part.pairs for part in todo),
            hardware=hardware(living_nodes()),
            software=software(),
            configuration=configuration(plan, scoring, config),
        )
        with recorder, our_errors(), coordinated(Fleet(1, 1), False) as coordinator:
            gatherer = Gatherer(store, list(left.singles))
            _take(derivation, todo, job, (lease, told[1]), coordinator, gatherer, recorder)
    return whose


def _take(
    derivation: Derivation,
    todo: tuple[Any, ...],
    job: Job,
    leases: tuple[Lease, Lease],
    coordinator: Any,
    gatherer: Gatherer,
    recorder: Recorder,
) -> None:
    plan = derivation.plan
    tasks = [[group] for group in read_groups(todo, plan)]
    one = {"batch_size": 1, "batch_format": "pyarrow", "num_cpus": 1}
    # The receipts of all parts: sent once, in a list, where Ray leaves the reference alone.
    taking = {"job": job, "source": [ray.put(derivation.source)], "coordinator": coordinator}
    blocks = ray.data.read_datasource(
        PartSource(tasks, plan.schema.columns, coordinator),
        override_num_blocks=len(tasks),
        num_cpus=1,
    ).map_batches(derive_parts, fn_kwargs=taking, **one)
    longest = job.config.guard.max_stall_seconds
    with Progress(replace(plan, parts=derivation.parts), todo) as progress:
        log.info("%s to derive from %s", count(len(todo), "part"), derivation.source.store.shown)

        def check() -> None:
            for lease in leases:
                lease.check()

        silence = partial(silence_of, coordinator)
        for receipt, _ in watched(received(blocks), check, lambda: "parts", longest, silence):
            gatherer.add(receipt)
            progress.advance(receipt)
            recorder.add(replace(receipt, seconds=0.0, waited=0.0))  # of earlier attempts
