"""A whole run: plan → read → encode → score → commit → manifest.

The driver handles the plan, receipts and counts, never rows. It takes receipts from the end of the
stream when parts are committed. This also updates the progress.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from reranker_core.errors import PreflightRefused
from reranker_core.output.attempts import Recorder, forget
from reranker_core.output.identity import identity
from reranker_core.output.inventory import has_parts
from reranker_core.output.lease import Lease
from reranker_core.output.manifest import begin, conclude
from reranker_core.output.shared_pairs import SharedPairs
from reranker_core.output.totals import Totals
from reranker_core.pipeline.cluster import hardware, living_nodes, on_device, possible_formats
from reranker_core.pipeline.connection import connected
from reranker_core.pipeline.derive import with_columns
from reranker_core.pipeline.failures import our_errors
from reranker_core.pipeline.job import Job
from reranker_core.pipeline.placement import place
from reranker_core.pipeline.preflights import write_refusal
from reranker_core.pipeline.scoring import score
from reranker_core.pipeline.within import with_shared_pairs
from reranker_core.prepare import Prepared, compare
from reranker_core.report.assessment import assess
from reranker_core.report.page import write_report
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
        prepared = with_columns(compare(prepared), lease)
        return _run(with_shared_pairs(prepared, lease, run), lease)


def _run(prepared: Prepared, lease: Lease) -> Totals:
    started = time.time()
    config, scoring, store = prepared.config, prepared.fingerprint, prepared.store
    whose = identity(scoring, prepared.plan, config, prepared.before)
    before = prepared.before
    if prepared.replaced is not None:
        before = prepared.replaced
        log.info(
            "output.path=%s: another run with other settings has started this output, and no part "
            "of it is committed, so this run takes the output over",
            store.shown,
        )
        lease.confirm()
        forget(store, lease.fence.number)
    for change in prepared.changes:
        log.info("input.changed=%s: %s", config.input.changed, change)
    if prepared.todo:
        with connected(config) as own, _refusal_recorded(store), our_errors():
            stop_on_signals()  # again: ray.init sets handlers of its own
            nodes = living_nodes()
            placement = place(config, len(prepared.todo), own, nodes)
            config = on_device(config, placement)
            formats = possible_formats(config, placement, own)
            if config.model.dtype != "auto":
                formats = {config.model.dtype: prepared.dtype_reason}
            pairs = sum(part.pairs for part in prepared.todo)
            for dtype, why in formats.items():
                log.info("model.device=%s model.dtype=%s (%s)", config.model.device, dtype, why)
                model = config.model.model_copy(update={"dtype": dtype})
                config = config.model_copy(update={"model": model})
                scoring = {**scoring, "dtype": dtype}
                whose = identity(scoring, prepared.plan, config, prepared.before)
                lease.confirm()
                begin(store, whose, before, prepared.outstanding)
                share = pairs / placement.max
                job = Job.of(
                    config, prepared.plan, whose, store, lease.fence, share, prepared.reuse
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
                    reuse=prepared.reuse.as_dicts() if prepared.reuse else [],
                    configuration=configuration(prepared.plan, scoring, prepared.config),
                )
                try:
                    with recorder, our_errors():
                        score(prepared, job, placement, lease, recorder)
                    break
                except PreflightRefused as refused:
                    # Replicas refuse before they score a row: nothing is in the output yet.
                    failed = refused.failed("numerics")
                    if not failed or has_parts(store) or dtype == list(formats)[-1]:
                        raise
                    log.warning(
                        "model.dtype=%s: %s failed. Replicas load the model again in the next "
                        "number format, which may be slower",
                        *(dtype, " and ".join(failed)),
                    )
                    before = whose
    else:
        lease.confirm()
        begin(store, whose, before, prepared.outstanding)
    lease.confirm()
    SharedPairs(store).remove()  # their scores are in the keys of the parts now
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


@contextmanager
def _refusal_recorded(store: Store) -> Iterator[None]:
    try:
        yield
    except PreflightRefused as refused:
        write_refusal(store, refused)
        raise
