"""Start and end of a run in its output: claim; then proof, manifest and `_SUCCESS`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from reranker_core import __version__
from reranker_core.config import Config
from reranker_core.errors import (
    Incomplete,
    LimitExceeded,
    QuarantineExceeded,
    RerankError,
    StoreUnavailable,
)
from reranker_core.output.attempts import read_attempts
from reranker_core.output.identity import claim, digest
from reranker_core.output.inventory import Outstanding, retire
from reranker_core.output.proof import RESUME, prove
from reranker_core.output.replacement import is_pending
from reranker_core.output.reuse_facts import reuse_facts
from reranker_core.output.totals import Totals
from reranker_core.storage.store import Store

MANIFEST = "_manifest.json"
SUCCESS = "_SUCCESS"
OVER_LIMITS = ("over_quarantine_limit", "over_limit")  # states of outputs with all their scores
PAGE = "_report.html"  # of the run that is now complete


def begin(
    store: Store, run: dict[str, Any], before: dict[str, Any] | None, left: Outstanding
) -> None:
    """Claim the output for `run`, and remove parts that no longer belong to it.

    Args:
        store: the output.
        run: its identity.
        before: the identity that was found in the output; None if there was none.
        left: the remaining work.

    Raises:
        OutputConflict: another run has claimed the output first.

    """
    # Not where there is none: a network may deliver a deletion after the run is over.
    if (left.todo or left.discard or before != run) and store.exists(SUCCESS):
        withdraw(store)
    # Before the new state is recorded: what is removed must never be taken for a part of it.
    retire(store, left.discard)
    claim(store, run, before, left.planned)


def withdraw(store: Store) -> None:
    """Take back that the output is complete."""
    store.delete(SUCCESS)
    store.delete(PAGE)


def conclude(
    store: Store,
    run: dict[str, Any],
    config: Config,
    facts: dict[str, Any],
    assess: Callable[[dict[str, Any]], dict[str, Any]] = lambda manifest: {},
) -> Totals:
    """Verify the output, write the manifest, and write `_SUCCESS` if there is no problem.

    Args:
        store: the output.
        run: its identity.
        config: for the quarantine limit.
        facts: more fields of the manifest.
        assess: more fields of it, from the fields so far; `exceeded` has a sentence for each
            exceeded limit on drift or quality.

    Raises:
        Incomplete: a part has no receipt, or its file does not match the receipt.
        OutputConflict: there are data files that do not belong to a part.
        QuarantineExceeded: too many pairs have no score.
        LimitExceeded: a limit on drift or quality is exceeded.

    """
    try:
        totals = prove(store, run, config.verify.read == "all")
    except StoreUnavailable:
        raise
    except RerankError:
        store.delete(SUCCESS)  # of an earlier run, and true no longer
        raise
    exceeded = _exceeded(totals, config)
    attempts = read_attempts(store)
    scoring = [attempt for attempt in attempts if attempt.replicas]
    if scoring:  # a run that finds nothing to score may be elsewhere
        last = scoring[-1]
        facts = {**facts, "software": last.software, "hardware": last.hardware}
    manifest = {
        "state": "over_quarantine_limit" if exceeded else "complete",
        "version": __version__,
        "run": digest(run),
        "shards": len(run["input"]["shards"]),
        "parts": totals.parts,
        "rows": totals.rows,
        "pairs": totals.pairs,
        "scored": totals.scored,
        "rescued": totals.rescued,
        "special_tokens_in_text": totals.special_tokens_in_text,
        "quarantined": dict(totals.quarantined),
        "distinct_pairs": totals.distinct,
        "keys": totals.keys,
        **reuse_facts(totals, attempts),
        "tokens": totals.tokens,
        "scoring_seconds": round(totals.seconds, 3),
        "padding_fraction": round(totals.padding_fraction, 4),
        "waiting_fraction": round(totals.waiting_fraction, 4),
        "bytes": totals.size,
        "scores": totals.scores.summary(),
        **facts,
        "attempts": [attempt.summary() for attempt in attempts],
    }
    manifest |= assess(manifest)
    if manifest.get("exceeded") and not exceeded:
        manifest["state"] = "over_limit"
    store.write(MANIFEST, json.dumps(manifest, indent=1).encode())
    if exceeded:
        store.delete(SUCCESS)
        raise _over_the_limit(store, totals, config)
    if manifest.get("exceeded"):
        store.delete(SUCCESS)
        raise _limits(store, manifest["exceeded"])
    if not store.exists(SUCCESS):
        store.write(SUCCESS, b"")
    return totals


def verify(store: Store, run: dict[str, Any], config: Config) -> Totals:
    """Verify a finished output again without changing it.

    Raises:
        Incomplete, OutputConflict, QuarantineExceeded, LimitExceeded: as for `conclude`; also if
            the output is not marked as finished.

    """
    if is_pending(store):
        raise Incomplete(
            f"output.path={store.url} is not finished: files with other columns are being put in "
            f"place. To finish this, {RESUME}"
        )
    totals = prove(store, run, config.verify.read == "all")
    if _exceeded(totals, config):
        raise _over_the_limit(store, totals, config)
    manifest = recorded_manifest(store)
    if manifest.get("exceeded"):
        raise _limits(store, manifest["exceeded"])
    counted = {name: getattr(totals, name) for name in ("parts", "rows", "pairs", "scored")}
    if not store.exists(SUCCESS) or counted != {name: manifest.get(name) for name in counted}:
        raise Incomplete(
            f"output.path={store.url} is not finished: all parts are correct, but {SUCCESS} "
            f"is missing, or {MANIFEST} has different counts. To finish it, {RESUME}"
        )
    return totals


def recorded_manifest(store: Store) -> dict[str, Any]:
    """The manifest in the output; empty if there is none or it is damaged."""
    try:
        manifest = json.loads(store.read(MANIFEST))
    except (FileNotFoundError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _limits(store: Store, exceeded: list[str]) -> LimitExceeded:
    told = "; ".join(sentence.rstrip(".") for sentence in exceeded)
    return LimitExceeded(
        f"output.path={store.url}: {told}. {store.url}/{PAGE} shows what differs. To "
        "accept the scores, raise or remove the limit and run the same command again: nothing is "
        "scored again"
    )


def _exceeded(totals: Totals, config: Config) -> bool:
    return totals.quarantined_fraction > config.guard.max_quarantined_fraction


def _over_the_limit(store: Store, totals: Totals, config: Config) -> QuarantineExceeded:
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in totals.quarantined.items())
    return QuarantineExceeded(
        f"{totals.quarantined_pairs:,} of {totals.pairs:,} pairs "
        f"({totals.quarantined_fraction:.2%}) have no score ({reasons}), more than "
        f"guard.max_quarantined_fraction={config.guard.max_quarantined_fraction:g} allows. "
        f"{store.url}/_quarantine lists them. Correct the input, or raise the limit and run the "
        "same command again: pairs with a score are not scored again"
    )
