"""Preparation of a run: everything that can be checked before Ray starts."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, replace
from typing import Any

from reranker_core.checks import Inspection
from reranker_core.config import Config
from reranker_core.device import refuse_absent_gpus, resolve_device
from reranker_core.encode.formats.pair_format import PairFormat
from reranker_core.errors import ConfigError
from reranker_core.input.added_columns import refuse_case_twins
from reranker_core.input.plan import Part, Plan, make_plan
from reranker_core.input.schema import refuse_texts_left_out
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.families import FAMILIES, choose
from reranker_core.output.checksums import unchanged
from reranker_core.output.derivation import Derivation, derivation_in_place
from reranker_core.output.differences import are_derived, differences
from reranker_core.output.earlier_scores import EarlierScores, earlier_scores
from reranker_core.output.identity import (
    RUN_FILE,
    as_earlier,
    digest,
    fingerprint,
    identity,
    recorded,
    refuse_differences,
    shard_changes,
    without_shards,
)
from reranker_core.output.inventory import (
    Outstanding,
    has_more_than_records,
    has_parts,
    outstanding,
)
from reranker_core.output.manifest import SUCCESS
from reranker_core.output.replacement import derived_store, is_pending
from reranker_core.preflight.checkpoint import check_checkpoint
from reranker_core.preflight.failures import tokenizes
from reranker_core.preflight.prompt import check_prompt
from reranker_core.preflight.tokenizer import sendable
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to start.

    Attributes:
        config: with the `model.dtype` that the output was scored in, if it has parts.
        plan: all parts.
        outstanding: the remaining work.
        store: the output.
        fingerprint: everything that the scores depend on; its dtype is `auto` until the device of a
            replica is known.
        choice: family and template, with the reason.
        pair_format: how a pair becomes token ids.
        before: the identity in the output; None for a new output.
        replaced: the identity of another run that has started the output and left no part in it;
            None without. This run takes the output over.
        derivation: what gives the scores in the output the columns of this run; None if they have
            them.
        reuse: the scores of earlier outputs that are used again; None without.
        dtype_reason: why `model.dtype` is what it is, unless it is `auto`.

    """

    config: Config
    plan: Plan
    outstanding: Outstanding
    store: Store
    fingerprint: dict[str, Any]
    choice: str
    pair_format: PairFormat
    before: dict[str, Any] | None
    derivation: Derivation | None = None
    reuse: EarlierScores | None = None
    dtype_reason: str = "as configured"
    replaced: dict[str, Any] | None = None

    @property
    def todo(self) -> tuple[Part, ...]:
        """The parts without a receipt, in order."""
        return self.outstanding.todo

    @property
    def device_is_unknown(self) -> bool:
        """Whether a GPU is configured, and only the cluster can show whether one exists."""
        return self.config.model.device == "cuda" and joins_cluster(self.config)

    @property
    def changes(self) -> list[str]:
        """Shards that were changed, added or removed since the output was started."""
        now = identity(self.fingerprint, self.plan, self.config, self.before)
        return [] if self.before is None else shard_changes(self.before, now)


def prepare(config: Config) -> Prepared:
    """Plan the run, check the model files, and compare with the output.

    Raises:
        ConfigError, InputError: the configuration or the input is wrong, the output cannot be
            written, or the device does not exist.
        PreflightRefused: the model files show that the model is not a reranker.
        OutputConflict: the output belongs to another run.

    """
    _refuse_own_memory(config)
    store = Store(config.output.path)
    store.check_writable()
    plan = _planned(config, store)
    if not plan.rows:
        log.warning(
            "the input has no rows, so the output will have no data files: check input.path=%s",
            plan.shards[0].file.url if plan.shards else config.input.path,
        )
    if not joins_cluster(config):
        resolve_device(config.model.device)
        refuse_absent_gpus(config.replicas.num_gpus)
    checkpoint = open_checkpoint(config.model)
    inspection = Inspection(config.preflight.checks)
    inspection.add(check_checkpoint(checkpoint, config.model, config.preflight.golden))
    family, template, choice = choose(checkpoint, config.model)
    log.info("%s is scored as %s", config.model.path, choice)
    pinned = {**checkpoint.pinned, "family": family, "template": template}
    config = config.model_copy(
        update={
            "model": config.model.model_copy(update=pinned),
            "output": config.output.model_copy(update={"path": store.url}),
        }
    )
    with tokenizes():
        pair_format = inspection.loading(
            lambda: sendable(FAMILIES[family].pair_format(checkpoint, config.model))
        )
    if config.input.columns.instruction is not None and not pair_format.takes_instructions:
        raise ConfigError(
            f"input.columns.instruction={config.input.columns.instruction}: the model does not use "
            f"instructions ({choice}). Leave the column out, or use a template with {{instruction}}"
        )
    instructed = config.input.columns.instruction is not None
    inspection.add(check_prompt(checkpoint, config.model, pair_format, instructed))
    scoring = fingerprint(config, checkpoint, pair_format, family)
    everything = Outstanding.all_of(plan)
    return with_earlier_scores(
        compare(Prepared(config, plan, everything, store, scoring, choice, pair_format, None))
    )


def _refuse_own_memory(config: Config) -> None:
    """Refuse `memory://`: other processes do not see what one has written there."""
    given = config.input.path
    named = [("input.path", each) for each in ([given] if isinstance(given, str) else given)]
    for key, path in [*named, ("output.path", config.output.path)]:
        if path.startswith("memory://"):
            raise ConfigError(
                f"{key}={path}: memory:// is the memory of one process, which workers do not see. "
                "Use a folder on a disk that all nodes share, or the URL of an object store"
            )


def with_earlier_scores(prepared: Prepared, shared: Store | None = None) -> Prepared:
    """With the scores of `reuse.from`, and their number format if it was not settled.

    Args:
        prepared: the run.
        shared: an output of pairs that several parts of the run have.

    Raises:
        ConfigError: an output is not complete, or its scores are not comparable.

    """
    if not prepared.todo:
        return prepared
    config, scoring = prepared.config, prepared.fingerprint
    found = earlier_scores(config, scoring, prepared.store, shared)
    if found is None:
        return prepared
    reuse, dtype = found
    reason = prepared.dtype_reason
    if config.model.dtype == "auto":
        reason = "as in the earlier output"
        log.info("model.dtype=auto: %s, as in the output of reuse.from", dtype)
        config, scoring = _settled(config, scoring, dtype)
    return replace(prepared, config=config, fingerprint=scoring, reuse=reuse, dtype_reason=reason)


def _settled(config: Config, scoring: dict[str, Any], dtype: str) -> tuple[Config, dict[str, Any]]:
    """Configuration and fingerprint with this number format."""
    model = config.model.model_copy(update={"dtype": dtype})
    return config.model_copy(update={"model": model}), {**scoring, "dtype": dtype}


def _planned(config: Config, store: Store) -> Plan:
    """The plan. An unfinished output goes on with the versions of tables that it was begun with."""
    chosen = config.input.snapshot is not None or config.input.changed == "rescore"
    before = recorded(store) if not chosen and store.exists(RUN_FILE) else None
    begun = (before or {}).get("input", {}).get("snapshots")
    if not begun or store.exists(SUCCESS):
        return make_plan(config)
    log.info(
        "the output was started with snapshot %s, so this run reads it; to read the newest "
        "snapshot, set input.changed=rescore",
        ", ".join(f"{name} {number}" for name, number in begun.items()),
    )
    return make_plan(config, begun)


def joins_cluster(config: Config) -> bool:
    """Whether the run will use an existing Ray. Its devices are not known in advance."""
    ray = sys.modules.get("ray")  # which only the pipeline imports
    address = config.ray.address or os.environ.get("RAY_ADDRESS") or "local"
    return address != "local" or (ray is not None and ray.is_initialized())


def compare(prepared: Prepared) -> Prepared:
    """Compare the run with the current output.

    Raises:
        OutputConflict: the output belongs to another run.

    """
    config, plan, store, scoring = (
        prepared.config,
        prepared.plan,
        prepared.store,
        prepared.fingerprint,
    )
    holder = derived_store(store) if is_pending(store) else store  # of the scores
    before = recorded(holder)
    if before is None:
        return _as_new(prepared, None)
    scoring = as_earlier(scoring, before["fingerprint"])
    reason = prepared.dtype_reason
    if config.model.dtype == "auto":
        reason = "as in the output"
        config, scoring = _settled(config, scoring, before["fingerprint"]["dtype"])
    # Nothing was scored in the recorded format: replicas may still refuse it, and try the next one.
    is_open = prepared.config.model.dtype == "auto" and not has_parts(holder)
    plan = plan.known_as(unchanged(store, before["input"]["shards"], plan))
    now = identity(scoring, plan, config, before)
    whole = config.input.changed != "rescore"
    old, new = (run if whole else without_shards(run) for run in (before, now))
    derivation = None
    if old != new and holder is store and not has_more_than_records(store):
        return _as_new(prepared, before)
    if are_derived(differences(old, new, config)):
        derivation = derivation_in_place(holder, config, plan, scoring)
        derived = {part.name for part in derivation.parts}
        left = Outstanding(
            tuple(part for part in plan.parts if part.name not in derived), len(plan.parts)
        )
    else:
        refuse_differences(store, old, new, config)
        left = outstanding(holder, plan, digest(now))
        if is_open:
            config, scoring = prepared.config, prepared.fingerprint
    return replace(
        prepared,
        config=config,
        plan=plan,
        outstanding=left,
        fingerprint=scoring,
        before=before,
        derivation=derivation,
        dtype_reason=reason,
        replaced=None,
    )


def _as_new(prepared: Prepared, replaced: dict[str, Any] | None) -> Prepared:
    """The run in an output without parts; it replaces the identity `replaced`."""
    refuse_case_twins(prepared.plan.schema.carried, prepared.config)
    refuse_texts_left_out(prepared.plan.schema, prepared.config)
    everything = Outstanding.all_of(prepared.plan)
    return replace(
        prepared, outstanding=everything, before=None, derivation=None, replaced=replaced
    )
