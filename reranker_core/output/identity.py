"""What makes a run the same run: everything that its output depends on.

The identity is written to `_run.json` when a run begins. A later run under the same output must
have the same one, or it is refused: scores of two models, or of two states of the input, are
never mixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reranker_core.config import Config
from reranker_core.errors import ConfigError, OutputConflict, RerankError, brief
from reranker_core.input.plan import Plan
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.storage.store import Store

if TYPE_CHECKING:  # for who commits parts, and needs no tokenizer
    from reranker_core.encode.formats.pair_format import PairFormat

RUN_FILE = "_run.json"
# Raised by whoever changes how scores come about, so that old and new ones are not mixed.
SCORING_VERSION = 2
# The same for the shapes of batches, on which the last bits depend.
SHAPES_VERSION = 2
_SHOWN_DIFFERENCES = 8


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
        "normalize": config.output.normalize,
        **({"reproducible": _shapes(config)} if config.score.reproducible else {}),
    }


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
        run = json.loads(store.read(RUN_FILE))
        if not isinstance(run, dict) or "fingerprint" not in run:
            raise ValueError
        return run
    except FileNotFoundError:
        pass
    except RerankError:
        raise
    except ValueError:
        raise OutputConflict(
            f"output.path={store.url}: {RUN_FILE} is damaged, so it is not known whose the output "
            "is; give the run a folder of its own"
        ) from None
    except Exception as error:  # noqa: BLE001 - each store has its own
        raise ConfigError(f"output.path={store.url}: cannot be read: {brief(error)}") from None
    foreign = [o.name for o in store.list() if not o.name.startswith("_lease/")][:3]
    if foreign:
        raise OutputConflict(
            f"output.path={store.url} holds files that no run of this job has begun: "
            f"{', '.join(foreign)}, …; give the run a folder of its own"
        )
    return None


def require_recorded(store: Store) -> dict[str, Any]:
    """As `recorded`, for who needs an output that was begun.

    Raises:
        OutputConflict, ConfigError: as `recorded`; also if nothing is there.

    """
    run = recorded(store)
    if run is None:
        raise ConfigError(f"output.path={store.url}: no run was begun there; nothing to verify")
    return run


def claim(store: Store, run: dict[str, Any], before: dict[str, Any] | None) -> None:
    """Make a fresh output this run's, or record what its shards look like now.

    Raises:
        OutputConflict: another run was quicker.

    """
    if before != run:
        data = json.dumps(run, indent=1).encode()
        if before is None:
            store.create(RUN_FILE, data)
        elif recorded(store) == before:
            store.write(RUN_FILE, data)
    refuse_differences(store, recorded(store) or {}, run)


def shard_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Each shard that has changed, come or gone between two runs, with how."""
    return list(_differences(before["input"]["shards"], now["input"]["shards"]))


def without_shards(run: dict[str, Any]) -> dict[str, Any]:
    """An identity without what its shards look like, and which versions of tables they are of."""
    return _without(run, "shards", "snapshots")


def _without(run: dict[str, Any], *keys: str) -> dict[str, Any]:
    known = run.get("input", {})
    return {**run, "input": {key: known[key] for key in known if key not in keys}}


def refuse_differences(store: Store, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Make sure that the output belongs to this run.

    Raises:
        OutputConflict: it belongs to a run that differs; the message says in what.

    """
    differences = list(_differences(before, now))
    if not differences:
        return
    shown = [f"  {line}" for line in differences[:_SHOWN_DIFFERENCES]]
    if len(differences) > _SHOWN_DIFFERENCES:
        shown.append(f"  … and {len(differences) - _SHOWN_DIFFERENCES} more")
    raise OutputConflict(
        "\n".join(
            [
                f"output.path={store.url} belongs to another run, which differs in:",
                *shown,
                "Use another output.path, or restore what the run was begun with; for shards only,"
                " input.changed=rescore scores those that are new or have changed",
            ]
        )
    )


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(key), now.get(key), f"{path}.{key}".strip("."))
    elif before != now:
        yield f"{path}: begun with {_short(before)}, now {_short(now)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    if isinstance(value, dict):
        text = ", ".join(f"{item} {key}" for key, item in value.items())
    return text if len(text) <= 80 else text[:77] + "…"
