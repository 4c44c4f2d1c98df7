"""The identity of a run: everything that its output depends on.

The identity is written to `_run.json` when a run starts. A later run with the same output must have
the same identity, or it is refused. So scores of two models, or of two states of the input, are
never mixed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reranker_core.config import Config
from reranker_core.errors import ConfigError, OutputConflict
from reranker_core.input.plan import Plan
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.digests import as_recorded
from reranker_core.output.differences import differences, explain, shard_differences
from reranker_core.storage.store import Store

if TYPE_CHECKING:  # for who commits parts, and needs no tokenizer
    from reranker_core.encode.formats.pair_format import PairFormat

RUN_FILE = "_run.json"
_PLANNED = "parts"  # beside the identity, and no part of it
# Raised by whoever changes how scores come about, so that old and new ones are not mixed.
SCORING_VERSION = 2
# The same for the shapes of batches, on which the last bits depend.
SHAPES_VERSION = 2
_SHOWN = 3
_LOOKED_AT = 1000  # files of a folder in which an output may lie
_BEFORE_RUN_FILE = ("_lease/", "_within/")


def fingerprint(
    config: Config, checkpoint: Checkpoint, pair_format: PairFormat, family: str
) -> dict[str, Any]:
    """Everything that changes a score. This excludes replicas, paths, and batch sizes (except with
    `score.reproducible`).
    """
    return {
        "scoring_version": SCORING_VERSION,
        "family": family,
        "dtype": config.model.dtype,
        "model": checkpoint.digests,
        **pair_format.record,
        "normalize": _normalization(config, pair_format.record),
        **({"reproducible": _shapes(config)} if config.score.reproducible else {}),
    }


def fingerprint_for(scoring: dict[str, Any], config: Config) -> dict[str, Any]:
    """The fingerprint `scoring` of earlier scores, with the normalization of `config`."""
    return {**scoring, "normalize": _normalization(config, scoring)}


def as_earlier(scoring: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The fingerprint `scoring` with the kinds of digests that the earlier one, `before`, has."""
    model = as_recorded(scoring.get("model") or {}, before.get("model") or {})
    return {**scoring, "model": model} if model else scoring


def temperature(scoring: dict[str, Any]) -> float:
    """The divisor of raw scores before normalization, from a fingerprint or a format record."""
    return float((scoring.get("template") or {}).get("temperature", 1.0))


def _normalization(config: Config, record: dict[str, Any]) -> str:
    """Outputs from before temperatures were heeded say `sigmoid`, and are not mixed with others."""
    divisor = temperature(record)
    plain = config.output.normalize == "none" or divisor == 1
    return config.output.normalize if plain else f"sigmoid(x / {divisor:g})"


def _shapes(config: Config) -> dict[str, Any]:
    """What the shapes of batches depend on; compiled code is not used where these matter."""
    return {"shapes_version": SHAPES_VERSION, **config.score.model_dump(exclude={"compile"})}


def identity(
    scoring: dict[str, Any], plan: Plan, config: Config, before: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The fingerprint, and everything else that determines the files of a run and their content.

    Args:
        scoring: the fingerprint.
        plan: shards and columns.
        config: the settings.
        before: the identity in the output. Earlier versions did not record the columns. Then the
            columns of the first shard are assumed.

    """
    told = before is None or "schema" in before.get("input", {}) or not plan.as_first
    return {
        "fingerprint": scoring,
        "plan": config.plan.model_dump(exclude={"price_per_hour"}),
        "input": {
            "layout": "nested" if plan.schema.nested else "flat",
            "columns": config.input.columns.model_dump(),
            **({"snapshots": plan.snapshots} if plan.snapshots else {}),
            **({"schema": plan.schema.output_types} if told else {}),
            "shards": {
                shard.file.name: {
                    "rows": shard.rows,
                    "size": shard.file.size,
                    "etag": shard.file.etag,
                }
                for shard in plan.shards
            },
        },
        "output": config.output.model_dump(exclude={"path", "normalize"}),
    }


def digest(run: dict[str, Any]) -> str:
    """A short digest of everything that all parts of a run share. The state of each shard is in the
    name and receipt of its parts, so other shards can be added, changed or removed.
    """
    common = json.dumps(_without(run, "shards", "snapshots", "schema"), sort_keys=True)
    return hashlib.sha256(common.encode()).hexdigest()[:16]


def recorded(store: Store) -> dict[str, Any] | None:
    """The identity of the run that the output belongs to, or None for a fresh output.

    Raises:
        OutputConflict: the folder contains files, but no `_run.json`.
        ConfigError: the folder cannot be read.

    """
    try:
        run = _run_file(store)
        run.pop(_PLANNED, None)
        return run
    except FileNotFoundError:
        pass
    except ValueError:
        raise OutputConflict(
            f"output.path={store.url}: {RUN_FILE} is damaged, so it is unknown which run the "
            f"output belongs to. Restore {RUN_FILE}, or choose another output.path"
        ) from None
    foreign = list(itertools.islice(_foreign(store), _SHOWN + 1))
    if foreign:
        more = ", …" if len(foreign) > _SHOWN else ""
        raise OutputConflict(
            f"output.path={store.url} contains other files ({', '.join(foreign[:_SHOWN])}{more}) "
            f"and no output of batch-reranker. Choose an empty folder or a new one"
        )
    return None


def planned_parts(store: Store) -> int | None:
    """Number of parts that the run which started this output had planned; None if unknown."""
    try:
        planned = _run_file(store).get(_PLANNED)
    except (FileNotFoundError, ValueError):
        return None
    return planned if isinstance(planned, int) else None


def require_recorded(store: Store) -> dict[str, Any]:
    """Like `recorded`, but the output must exist.

    Raises:
        ConfigError: the folder is missing or empty, or contains other files.
        OutputConflict: `_run.json` is damaged.

    """
    if store.exists(RUN_FILE) and (run := recorded(store)) is not None:
        return run
    found = list(itertools.islice(_foreign(store), _LOOKED_AT))
    below = [name.removesuffix(f"/{RUN_FILE}") for name in found if name.endswith(f"/{RUN_FILE}")]
    if below:
        raise ConfigError(
            f"{store.url} is not the output folder of a run, but contains one: "
            f"{store.path(below[0])}. Use that folder"
        )
    found = found[:_SHOWN]
    what = f"contains no output of batch-reranker, only {', '.join(found)}" if found else "is empty"
    if not found and not store.is_there():
        what = "does not exist"
    raise ConfigError(
        f"{store.url} {what}; give the output folder of a run (the folder that contains {RUN_FILE})"
    )


def claim(
    store: Store, run: dict[str, Any], before: dict[str, Any] | None, parts: int | None = None
) -> None:
    """Claim an empty output for this run, or record the current state of its shards.

    Args:
        store: the output.
        run: the identity of this run.
        before: the identity that was found in the output; None if there was none.
        parts: number of planned parts, for readers of an incomplete output.

    Raises:
        OutputConflict: another run has claimed the output first.

    """
    if before != run:
        told = run if parts is None else {**run, _PLANNED: parts}
        data = json.dumps(told, indent=1).encode()
        if before is None:
            store.create(RUN_FILE, data)
        elif recorded(store) == before:
            store.write(RUN_FILE, data)
    refuse_differences(store, recorded(store) or {}, run)


def _run_file(store: Store) -> dict[str, Any]:
    run = json.loads(store.read(RUN_FILE))
    if not isinstance(run, dict) or "fingerprint" not in run:
        raise ValueError(f"{RUN_FILE} is not a mapping")
    return run


def shard_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Each shard that was changed, added or removed between two runs."""
    found = shard_differences(before["input"]["shards"], now["input"]["shards"])
    return [str(difference) for difference in found]


def without_shards(run: dict[str, Any]) -> dict[str, Any]:
    """An identity without the state of its shards and the versions of tables."""
    return _without(run, "shards", "snapshots")


def _without(run: dict[str, Any], *keys: str) -> dict[str, Any]:
    known = run.get("input", {})
    return {**run, "input": {key: known[key] for key in known if key not in keys}}


def refuse_differences(
    store: Store, before: dict[str, Any], now: dict[str, Any], config: Config | None = None
) -> None:
    """Make sure that the output belongs to this run.

    Args:
        store: the output.
        before: the identity of the run that the output belongs to.
        now: the identity of this run.
        config: the configuration of this run, if known.

    Raises:
        OutputConflict: it belongs to a different run; the message lists the differences.

    """
    if before != now:
        raise OutputConflict(explain(store.url, differences(before, now, config)))


def _foreign(store: Store) -> Iterator[str]:
    """Files of a folder but those that a run writes before `_run.json`."""
    return (each.name for each in store.list() if not each.name.startswith(_BEFORE_RUN_FILE))
