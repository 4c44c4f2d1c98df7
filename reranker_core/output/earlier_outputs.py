"""The outputs that `reuse.from` names, and whether their scores are those of a run."""

from __future__ import annotations

import logging
import os
from typing import Any

from reranker_core.config import Config
from reranker_core.errors import ConfigError, OutputConflict, count
from reranker_core.output.differences import differences
from reranker_core.output.identity import RUN_FILE, as_earlier, recorded
from reranker_core.output.manifest import recorded_manifest
from reranker_core.output.siblings import complete_siblings, is_complete
from reranker_core.storage.filesystem import is_local
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)

AUTO = "auto"
# What of a fingerprint changes other columns than the raw score.
_OF_OTHER_COLUMNS = ("normalize",)
_SHOWN = 5


def earlier_outputs(config: Config, scoring: dict[str, Any], store: Store) -> list[Store]:
    """The outputs of `reuse.from`, each once.

    Args:
        config: of the run.
        scoring: its fingerprint.
        store: its output.

    Raises:
        ConfigError: a named output is not complete, or is that of the run.

    """
    found = (
        _newest(config, scoring, store) if name == AUTO else _named(name, store)
        for name in config.reuse.sources
    )
    return list({_real(other): other for other in found if other is not None}.values())


def require_same_scores(other: Store, config: Config, scoring: dict[str, Any]) -> str:
    """Make sure that the scores of an output are those of the run; their number format.

    Raises:
        ConfigError: they depend on something else; the message lists the differences.

    """
    reasons = _reasons(other, config, scoring)
    if not reasons:
        return str(_run_of(other)["fingerprint"]["dtype"])
    shown = [f"  {reason}" for reason in reasons[:_SHOWN]]
    if len(reasons) > _SHOWN:
        shown.append(f"  … and {len(reasons) - _SHOWN} more")
    first = f"reuse.from: the scores of {other.url} cannot be used. What differs:"
    last = "Use the previous values, or leave this output out of reuse.from."
    raise ConfigError("\n".join([first, *shown, last]))


def _named(name: str, store: Store) -> Store:
    other = Store(name)
    if _real(other) == _real(store):
        raise ConfigError(
            f"reuse.from={name} is output.path itself, which a run resumes without it. Name "
            "another output"
        )
    if not other.is_there():
        raise ConfigError(
            f"reuse.from={name}: there is no such folder. Name the folder of a complete run, or "
            "leave it out"
        )
    if not is_complete(other) or not recorded_manifest(other):
        raise ConfigError(
            f"reuse.from={name}: is not a complete output of batch-reranker (it needs _run.json, "
            "_manifest.json and _SUCCESS). Name the folder of a complete run, or leave it out"
        )
    return other


def _newest(config: Config, scoring: dict[str, Any], store: Store) -> Store | None:
    siblings, without_keys = complete_siblings(store), None
    for other in siblings:
        manifest = recorded_manifest(other)
        try:
            if not manifest or _reasons(other, config, scoring):
                continue
        except ConfigError as error:
            log.warning("%s", error)
            continue
        if manifest.get("keys"):
            return other
        without_keys = without_keys or other
    if without_keys is None:
        log.info(
            "reuse.from=auto: none of %s beside %s has the same model and settings; all pairs are "
            "scored",
            *(count(len(siblings), "complete output"), store.shown),
        )
    return without_keys


def _real(store: Store) -> str:
    return os.path.realpath(store.root) if is_local(store.filesystem) else store.url


def _reasons(other: Store, config: Config, scoring: dict[str, Any]) -> list[str]:
    """Why the scores of an output cannot be used; empty if they can."""
    run = _run_of(other)
    before = _comparable(run["fingerprint"])
    now = _comparable(as_earlier(scoring, before))
    if now["dtype"] == AUTO:
        now["dtype"] = before["dtype"]
    found = differences({"fingerprint": before}, {"fingerprint": now}, config)
    reasons = [str(each) for each in found]
    wanted = [key for key in ("chunks", "tokens_lost") if getattr(config.output, key)]
    missing = [key for key in wanted if not run["output"][key]]
    return [*reasons, *(f"output.{key}: false before, true now" for key in missing)]


def _run_of(other: Store) -> dict[str, Any]:
    """The identity of an earlier output."""
    try:
        return recorded(other) or {}
    except OutputConflict:
        raise ConfigError(
            f"reuse.from: {other.url}/{RUN_FILE} is damaged, so it is unknown how these scores "
            "were computed. Restore the file, or leave this output out of reuse.from"
        ) from None


def _comparable(scoring: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scoring.items() if name not in _OF_OTHER_COLUMNS}
