"""A whole run: plan → read → encode → score → commit → manifest.

The driver handles the plan, receipts and counts, never rows. It takes receipts from the end of the
stream when parts are committed. This also updates the progress.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray
from ray.data import Dataset, TaskPoolStrategy

from reranker_core.checks import Check
from reranker_core.config import Config
from reranker_core.errors import PreflightRefused, count
from reranker_core.input.plan import read_groups
from reranker_core.output.attempts import Recorder
from reranker_core.output.checksums import recording
from reranker_core.output.identity import digest, identity, temperature
from reranker_core.output.lease import Lease
from reranker_core.output.manifest import begin, conclude
from reranker_core.output.proof import Totals
from reranker_core.output.receipts import Gatherer, Receipt
from reranker_core.pipeline import code
from reranker_core.pipeline.cluster import describe, hardware, living_nodes, settle_numbers
from reranker_core.pipeline.connection import connected
from reranker_core.pipeline.coordinator import coordinated, silence_of
from reranker_core.pipeline.datasource import PartSource
from reranker_core.pipeline.derive import with_columns
from reranker_core.pipeline.failures import our_errors
from reranker_core.pipeline.job import Job
from reranker_core.pipeline.news import News
from reranker_core.pipeline.placement import Placement, place
from reranker_core.pipeline.pool import pool
from reranker_core.pipeline.replica import Replica
from reranker_core.pipeline.tasks import commit_parts, encode
from reranker_core.pipeline.watch import watched
from reranker_core.prepare import Prepared, compare
from reranker_core.report.assessment import assess
from reranker_core.report.night import PREFLIGHT
from reranker_core.report.page import write_report
from reranker_core.report.progress import Progress
from reranker_core.report.provenance import configuration, provenance, software
from reranker_core.stopping import stop_on_signals
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)


def run(prepared: Prepared) -> Totals:
    """Score the remaining parts, verify the output, write the manifest and `_SUCCESS`.

    Raises:
        RerankError: a subclass, each with its exit code.

    """
    with Lease.acquire(prepared.store) as lease:
        # Another driver may have worked on the output since it was looked at.
        return _run(with_columns(compare(prepared), lease), lease)


def _run(prepared: Prepared, lease: Lease) -> Totals:
    started = time.time()
    config, scoring, store = prepared.config, prepared.fingerprint, prepared.store
    whose = identity(scoring, prepared.plan, config, prepared.before)
    for change in prepared.changes:
        log.info("input.changed=%s: %s", config.input.changed, change)
    if prepared.todo:
        with connected(config) as own, _refusal_recorded(store), our_errors():
            stop_on_signals()  # again: ray.init sets handlers of its own
            nodes = living_nodes()
            placement = place(config, len(prepared.todo), own, nodes)
            enforced = config.preflight.checks.agreement == "refuse"
            with coordinated(placement.fitting, enforced) as coordinator:
                config = settle_numbers(config, placement, own)
                scoring = {**scoring, "dtype": config.model.dtype}
                whose = identity(scoring, prepared.plan, config, prepared.before)
                lease.confirm()
                begin(store, whose, prepared.before, prepared.outstanding)
                pairs = sum(part.pairs for part in prepared.todo)
                job = Job(
                    config,
                    prepared.plan.schema,
                    digest(whose),
                    scoring["model"],
                    store,
                    lease.fence,
                    pairs / placement.max,
                    temperature(scoring),
                    code.digest(),
                )
                recorder = Recorder(
                    store,
                    lease.fence.number,
                    started,
                    parts_to_score=len(prepared.todo),
                    pairs_to_score=pairs,
                    cpus=placement.num_cpus,
                    gpus=placement.num_gpus,
                    hardware=hardware(nodes),
                    software=software(),
                    configuration=configuration(prepared.plan, scoring, prepared.config),
                )
                with recorder, our_errors():
                    _score(prepared, job, placement, lease, coordinator, recorder)
    else:
        lease.confirm()
        begin(store, whose, prepared.before, prepared.outstanding)
    lease.confirm()
    facts = {
        **provenance(prepared.plan, scoring, prepared.config),
        "fingerprint": scoring,
        "scored_as": prepared.choice,
        "passed_over": prepared.plan.passed_over,
        "not_kept": list(prepared.plan.not_kept),
        "preflight_not_enforced": [
            group for group, action in config.preflight.checks if action != "refuse"
        ],
    }
    try:
        return conclude(store, whose, config, facts, partial(assess, store, whose, config))
    finally:
        write_report(store)


def _score(
    prepared: Prepared,
    job: Job,
    placement: Placement,
    lease: Lease,
    coordinator: Any,
    recorder: Recorder,
) -> None:
    """Run the stages until all parts are committed."""
    store = prepared.store
    reports: dict[str, Any] = {}
    gatherer = Gatherer(store, list(prepared.outstanding.singles))
    left = {part.name for part in prepared.todo}
    nodes = len(living_nodes())

    def waiting_for() -> str:
        parts = count(len(left), "part")
        return f"{parts} not committed yet, such as {min(left)}; {describe(nodes, placement)}"

    sent_away: list[dict[str, str]] = []
    longest = job.config.guard.max_stall_seconds
    with (
        Progress(prepared.plan, prepared.todo) as progress,
        recording(store, prepared.plan),
    ):
        log.info("%s to score by up to %s", count(len(prepared.todo), "part"), placement)
        news = News(coordinator, progress, placement.max)

        def check() -> None:
            lease.check()
            news.tell()

        rows = _stages(job, prepared, placement, coordinator).iter_rows()
        for row in watched(rows, check, waiting_for, longest, lambda: silence_of(coordinator)):
            replica = row["replica"]
            if replica not in reports:
                preflight = ray.get(coordinator.report.remote(replica))
                reports[replica] = {"replica": replica, **preflight}
                outliers = ray.get(coordinator.outliers.remote())
                for outlier in outliers[len(sent_away) :]:
                    log.warning("replica %(replica)s on %(node)s was replaced: %(reason)s", outlier)
                sent_away = outliers
                recorder.replica(reports[replica], sent_away)
                _write_preflight(store, {"replicas": list(reports.values()), "replaced": sent_away})
                _log_relaxed(reports[replica], job.config)
            receipt = Receipt.from_json(row["receipt"])
            left.discard(receipt.part)
            gatherer.add(receipt)
            progress.advance(receipt)
            recorder.add(receipt)


def _stages(job: Job, prepared: Prepared, placement: Placement, coordinator: Any) -> Dataset:
    plan = prepared.plan
    groups = list(read_groups(prepared.todo, plan))
    source = PartSource(groups, plan.schema.columns, coordinator)
    one = {"batch_size": 1, "batch_format": "pyarrow"}
    # It may have megabytes, and is fetched once a process: in a list, where Ray leaves it alone.
    tokenizing = {
        "job": job,
        "pair_format": [ray.put(prepared.pair_format)],
        "coordinator": coordinator,
    }
    committing = {"job": job, "coordinator": coordinator}
    return (
        ray.data.read_datasource(source, override_num_blocks=len(groups), num_cpus=1)
        .map_batches(encode, num_cpus=1, fn_kwargs=tokenizing, **one)
        .map_batches(
            Replica,
            fn_constructor_args=(job, placement.threads, coordinator),
            compute=pool(placement),
            **placement.options,
            **one,
        )
        .map_batches(
            commit_parts,
            num_cpus=1,
            fn_kwargs=committing,
            compute=TaskPoolStrategy(size=placement.commits),
            **one,
        )
    )


@contextmanager
def _refusal_recorded(store: Store) -> Iterator[None]:
    try:
        yield
    except PreflightRefused as refused:
        _write_preflight(store, {"refused": refused.report})
        raise


def _log_relaxed(preflight: dict[str, Any], config: Config) -> None:
    for check in preflight["checks"]:
        if not check["passed"] and getattr(config.preflight.checks, check["group"]) == "warn":
            log.warning(
                "preflight check failed on %s (not enforced): %s",
                preflight["replica"],
                Check(**check),
            )


def _write_preflight(store: Store, content: dict[str, Any]) -> None:
    store.write(PREFLIGHT, json.dumps(content, indent=1).encode())
