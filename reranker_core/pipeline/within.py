"""Pairs that several parts have, scored once and first (`reuse.within`).

Two passes over the texts find these pairs and write them as shards. A run of their own scores them.
The other run then uses these scores as it uses those of an earlier output.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.actor import ActorHandle

from reranker_core.config import Config
from reranker_core.config.sections.input import InputColumns, InputConfig
from reranker_core.config.sections.output import OutputConfig
from reranker_core.config.sections.work import GuardConfig, ReportConfig
from reranker_core.errors import OutputConflict, PreflightRefused, count
from reranker_core.input.plan import Part, read_groups
from reranker_core.output.lease import Lease
from reranker_core.output.shared_pairs import INSTRUCTION, SharedPairs
from reranker_core.pipeline import code
from reranker_core.pipeline.asking import silence_of
from reranker_core.pipeline.connection import connected
from reranker_core.pipeline.coordination import coordinated
from reranker_core.pipeline.datasource import PartSource
from reranker_core.pipeline.failures import our_errors
from reranker_core.pipeline.preflights import write_refusal
from reranker_core.pipeline.tasks import WriteShared, write_shared_pairs
from reranker_core.pipeline.watch import watched
from reranker_core.preflight.fleet import Fleet
from reranker_core.prepare import Prepared, prepare, with_earlier_scores
from reranker_core.stopping import stop_on_signals

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


def with_shared_pairs(prepared: Prepared, lease: Lease, run: Callable[[Prepared], Any]) -> Prepared:
    """The run with the scores of all pairs that several of its remaining parts have.

    Args:
        prepared: the run.
        lease: on its output.
        run: runs another one.

    Raises:
        RerankError: a subclass, each with its exit code.

    """
    if not prepared.config.reuse.within or not prepared.todo:
        return prepared
    shared = SharedPairs(prepared.store)
    found = shared.ready(part.name for part in prepared.todo)
    if found is None and len(prepared.todo) == 1:
        return prepared
    if found is None:
        found = _find(prepared, shared, lease)
    log.info(
        "reuse.within: %s %s in more than one part%s",
        count(found, "distinct pair"),
        "is" if found == 1 else "are",
        "; scored first, each once" if found else "",
    )
    if not found:
        return prepared
    try:
        run(run_of(prepared, shared))
    except PreflightRefused as refused:
        write_refusal(prepared.store, refused)
        raise
    lease.confirm()
    return with_earlier_scores(prepared, shared.scores)


def _find(prepared: Prepared, shared: SharedPairs, lease: Lease) -> int:
    """Write the pairs as shards, and return their number."""
    lease.confirm()
    names = {part.name for part in prepared.todo}
    hashed = shared.begin(names)
    left = [part for part in prepared.todo if part.name not in hashed]
    log.info("reuse.within: looking for pairs that are in more than one part")
    with connected(prepared.config), our_errors():
        stop_on_signals()  # again: ray.init sets handlers of its own
        with our_errors(), coordinated(Fleet(1, 1), False) as coordinator:
            _pass(SharedPairs.write_hashes, left, prepared, shared, lease, coordinator)
            owners, found = shared.share_out(names)
            giving = [part for part in prepared.todo if part.name in owners]
            _pass(SharedPairs.write_pairs, giving, prepared, shared, lease, coordinator)
    lease.confirm()
    shared.finish(found)
    return found


def _pass(
    write: WriteShared,
    parts: list[Part],
    prepared: Prepared,
    shared: SharedPairs,
    lease: Lease,
    coordinator: ActorHandle,
) -> None:
    """Read the parts, and write something of each."""
    if not parts:
        return
    schema = prepared.plan.schema
    tasks = [[group] for group in read_groups(parts, prepared.plan)]
    rows = (
        ray.data.read_datasource(
            PartSource(tasks, schema.columns, coordinator),
            override_num_blocks=len(tasks),
            num_cpus=1,
        )
        .map_batches(
            write_shared_pairs,
            fn_kwargs={"write": write, "to": (shared, schema, code.digest())},
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=1,
        )
        .iter_rows()
    )
    longest, done, told = prepared.config.guard.max_stall_seconds, 0, time.monotonic()

    def left() -> str:
        return f"{count(len(parts) - done, 'part')} to read for reuse.within"

    for _ in watched(rows, lease.check, left, longest, lambda: silence_of(coordinator)):
        done += 1
        if time.monotonic() - told > _SECONDS_BETWEEN_LINES:
            log.info("reuse.within: %d of %s read", done, count(len(parts), "part"))
            told = time.monotonic()


def run_of(prepared: Prepared, shared: SharedPairs) -> Prepared:
    """The run that scores the shared pairs of another one.

    Raises:
        RerankError: as `prepare` raises it.

    """
    config = _config(prepared, shared)
    try:
        return prepare(config)
    except OutputConflict:
        if prepared.before is not None:
            raise
        # Scores of another model or other settings, of an output that was never begun.
        shared.remove_scores()
        return prepare(config)


def _config(prepared: Prepared, shared: SharedPairs) -> Config:
    config = prepared.config
    instruction = INSTRUCTION if config.input.columns.instruction else None
    earlier = prepared.reuse.sources if prepared.reuse else ()
    update = {
        "input": InputConfig(
            path=shared.pairs, format="parquet", columns=InputColumns(instruction=instruction)
        ),
        "output": OutputConfig(
            path=shared.scores.url,
            chunks=config.output.chunks,
            tokens_lost=config.output.tokens_lost,
        ),
        "guard": GuardConfig(
            max_quarantined_fraction=1.0, max_stall_seconds=config.guard.max_stall_seconds
        ),
        "reuse": config.reuse.model_copy(
            update={
                "from": [source.url for source in earlier] or None,
                "keep": True,
                "within": False,
            }
        ),
        "report": ReportConfig(),
    }
    return config.model_copy(update=update)
