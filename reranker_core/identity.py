"""What makes a run the same run: everything that its output depends on.

The identity is written to `_run.json` when a run begins. A later run under the same output must
have the same one, or it is refused: scores of two models, or of two states of the input, are
never mixed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from reranker_core.checkpoint import Checkpoint
from reranker_core.config import Config
from reranker_core.errors import ConfigError, OutputConflict, brief
from reranker_core.models import PairFormat
from reranker_core.plan import Plan
from reranker_core.storage import Store

RUN_FILE = "_run.json"
# Raised by whoever changes how scores come about, so that old and new ones are not mixed.
SCORING_VERSION = 1
_SHOWN_DIFFERENCES = 8


def fingerprint(
    config: Config, checkpoint: Checkpoint, pair_format: PairFormat, family: str
) -> dict[str, Any]:
    """Everything that changes a score; not batch sizes, replicas, or paths."""
    return {
        "scoring_version": SCORING_VERSION,
        "family": family,
        "dtype": config.model.dtype,
        "model": checkpoint.digests,
        **pair_format.record,
        "normalize": config.output.normalize,
    }


def identity(scoring: dict[str, Any], plan: Plan, config: Config) -> dict[str, Any]:
    """The fingerprint, and what else decides which files a run writes and what they hold."""
    return {
        "fingerprint": scoring,
        "plan": config.plan.model_dump(),
        "input": {
            "layout": "nested" if plan.schema.nested else "flat",
            "columns": config.input.columns.model_dump(),
            "shards": _shards(plan),
        },
        "output": config.output.model_dump(exclude={"path", "normalize"}),
    }


def _shards(plan: Plan) -> dict[str, str]:
    """What each shard looked like; a name that occurs again (day1/x, day2/x) gets a number."""
    states: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for shard in plan.shards:
        name = shard.file.name
        seen[name] += 1
        key = name if seen[name] == 1 else f"{name} #{seen[name]}"
        states[key] = f"{shard.rows} rows, {shard.file.size} bytes, {shard.file.etag}"
    return states


def digest(run: dict[str, Any]) -> str:
    """A short name for an identity."""
    return hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:16]


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
    except ValueError:
        raise OutputConflict(
            f"output.path={store.url}: {RUN_FILE} is damaged, so it is not known whose the output "
            "is; give the run a folder of its own"
        ) from None
    except Exception as error:  # noqa: BLE001 - each store has its own
        raise ConfigError(f"output.path={store.url}: cannot be read: {brief(error)}") from None
    foreign = sorted(store.sizes())[:3]
    if foreign:
        raise OutputConflict(
            f"output.path={store.url} holds files that no run of this job has begun: "
            f"{', '.join(foreign)}, …; give the run a folder of its own"
        )
    return None


def claim(store: Store, run: dict[str, Any]) -> None:
    """Make a fresh output this run's.

    Raises:
        OutputConflict: another run was quicker.
        ConfigError: the output cannot be written.

    """
    before = recorded(store)
    if before is None:
        try:
            store.write(RUN_FILE, json.dumps(run, indent=1).encode())
        except Exception as error:  # noqa: BLE001 - each store has its own
            raise ConfigError(
                f"output.path={store.url}: cannot be written: {brief(error)}"
            ) from None
        before = recorded(store)
    refuse_differences(store, before or {}, run)


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
                "Use another output.path, or restore what the run was begun with",
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
    return text if len(text) <= 80 else text[:77] + "…"
