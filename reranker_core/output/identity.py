"""What makes a run the same run: everything that its output depends on.

The identity is written to `_run.json` when a run begins. A later run under the same output must
have the same one, or it is refused: scores of two models, or of two states of the input, are
never mixed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any

from reranker_core.config import Config
from reranker_core.errors import ConfigError, OutputConflict
from reranker_core.input.plan import Plan
from reranker_core.models.checkpoint import Checkpoint
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


def fingerprint(
    config: Config, checkpoint: Checkpoint, pair_format: PairFormat, family: str
) -> dict[str, Any]:
    """Everything that changes a score; not batch sizes (but where scores are to be the same to the
    bit), replicas, or paths.
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


def temperature(scoring: dict[str, Any]) -> float:
    """What raw scores are divided by before they are normalised: the template's, in a fingerprint
    or the record of a format.
    """
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
    """The fingerprint, and what else decides which files a run writes and what they hold.

    Args:
        scoring: the fingerprint.
        plan: shards and columns.
        config: the settings.
        before: what the output holds. One that an earlier version began does not tell its columns;
            they are those of the first shard, and the run stays the same where they still are.

    """
    told = before is None or "schema" in before.get("input", {}) or not plan.as_first
    return {
        "fingerprint": scoring,
        "plan": config.plan.model_dump(),
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
    """A short name for all that parts of a run have in common. What a shard looked like is told
    by each part's own name and receipt, so that other shards may come, change and go.
    """
    common = json.dumps(_without(run, "shards", "snapshots", "schema"), sort_keys=True)
    return hashlib.sha256(common.encode()).hexdigest()[:16]


def recorded(store: Store) -> dict[str, Any] | None:
    """The identity of the run that the output belongs to, or None for a fresh output.

    Raises:
        OutputConflict: the folder holds files, but none that says whose.
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
            f"output.path={store.url}: {RUN_FILE} is damaged, so nobody can tell which run the "
            f"output belongs to. Restore {RUN_FILE}, or choose another output.path"
        ) from None
    names = (o.name for o in store.list() if not o.name.startswith("_lease/"))
    foreign = list(itertools.islice(names, _SHOWN + 1))
    if foreign:
        more = ", …" if len(foreign) > _SHOWN else ""
        raise OutputConflict(
            f"output.path={store.url} holds files, and none of them is {RUN_FILE}, which every run "
            f"writes: {', '.join(foreign[:_SHOWN])}{more}. Choose an empty or a new folder"
        )
    return None


def planned_parts(store: Store) -> int | None:
    """How many parts the run that began this output had planned; None if it did not say."""
    try:
        planned = _run_file(store).get(_PLANNED)
    except (FileNotFoundError, ValueError):
        return None
    return planned if isinstance(planned, int) else None


def require_recorded(store: Store) -> dict[str, Any]:
    """As `recorded`, for who needs an output that was begun.

    Raises:
        ConfigError: the folder is missing or empty, or holds other files.
        OutputConflict: `_run.json` is damaged.

    """
    if store.exists(RUN_FILE) and (run := recorded(store)) is not None:
        return run
    names = (o.name for o in store.list() if not o.name.startswith("_lease/"))
    found = list(itertools.islice(names, _SHOWN))
    what = f"holds no output of batch-reranker, only {', '.join(found)}" if found else "is empty"
    if not found and not store.is_there():
        what = "does not exist"
    raise ConfigError(
        f"output.path={store.url} {what}; name the folder that a run has written ({RUN_FILE} is "
        "in it)"
    )


def claim(
    store: Store, run: dict[str, Any], before: dict[str, Any] | None, parts: int | None = None
) -> None:
    """Make a fresh output this run's, or record what its shards look like now.

    Args:
        store: the output.
        run: the identity of this run.
        before: the identity that was found in the output; None if there was none.
        parts: how many are planned, for who looks at the output before it is complete.

    Raises:
        OutputConflict: another run was quicker.

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
        raise ValueError(f"{RUN_FILE} is none")
    return run


def shard_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Each shard that has changed, come or gone between two runs, with how."""
    found = shard_differences(before["input"]["shards"], now["input"]["shards"])
    return [str(difference) for difference in found]


def without_shards(run: dict[str, Any]) -> dict[str, Any]:
    """An identity without what its shards look like, and which versions of tables they are of."""
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
        before: the identity of the run that it belongs to.
        now: that of this run.
        config: of this run, where it is known.

    Raises:
        OutputConflict: it belongs to a run that differs; the message says in what.

    """
    if before != now:
        raise OutputConflict(explain(store.url, differences(before, now, config)))
