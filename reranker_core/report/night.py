"""What an output says of its run: read once, shown as a page and as text.

Memory grows with parts and shards, as that of the proof does, never with rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reranker_core.checks import Report
from reranker_core.output.attempts import Attempt, last_configuration, read_attempts
from reranker_core.output.commit import data_name
from reranker_core.output.identity import digest, planned_parts, require_recorded
from reranker_core.output.inventory import Inventory, take_inventory
from reranker_core.output.manifest import SUCCESS, recorded_manifest
from reranker_core.output.receipts import Receipt, read_receipts
from reranker_core.output.totals import Totals
from reranker_core.report.drift import Drift
from reranker_core.report.shard_scores import ShardScores
from reranker_core.storage.store import Store

PREFLIGHT = "_preflight.json"
_EXAMPLES = 3  # of each reason
_LISTS_READ = 50  # files in the quarantine


@dataclass(frozen=True)
class Night:
    """One output.

    Attributes:
        url: where it is.
        run: its identity.
        manifest: empty if the run is not finished, or was started again.
        finished: whether `_SUCCESS` is there.
        planned: number of parts; None if unknown.
        attempts: in order; none in outputs of earlier versions.
        totals: sums over the receipts.
        shards: scores by shard.
        preflight: what the first replica measured, or what was refused; None if nothing is known.
        refused: whether the last preflight refused the model.
        replicas: number of replicas that passed the preflight.
        replaced: replicas that were sent away.
        examples: some pairs without a score, by reason; `list` is the name of their file.
        damaged: data files that are missing or have another size than was committed.

    """

    url: str
    run: dict[str, Any]
    manifest: dict[str, Any]
    finished: bool
    planned: int | None
    attempts: list[Attempt]
    totals: Totals
    shards: ShardScores
    preflight: Report | None
    refused: bool
    replicas: int
    replaced: list[dict[str, str]]
    examples: dict[str, list[dict[str, Any]]]
    damaged: list[str]

    @property
    def drift(self) -> Drift | None:
        """The comparison with the earlier output, if there was one."""
        try:
            return Drift.from_dict(self.manifest["drift"])
        except (KeyError, TypeError, AttributeError):  # of another version
            return None

    @property
    def configuration(self) -> dict[str, Any]:
        """The resolved configuration; empty in outputs of earlier versions."""
        return dict(self.manifest.get("configuration") or last_configuration(self.attempts))

    @property
    def set_aside(self) -> list[dict[str, Any]]:
        """Replicas of all attempts that could not score and kept their GPU from others."""
        return [each for attempt in self.attempts for each in attempt.parked]


def read_night(store: Store) -> Night:
    """Read everything that an output says of its run, finished or not.

    Raises:
        ConfigError: the folder is not an output.

    """
    run = require_recorded(store)
    inventory = take_inventory(store)
    totals, shards = Totals(), ShardScores()
    damaged = []
    for receipt in _receipts(store, run, inventory):
        totals.add(receipt)
        shards.add(receipt)
        if not inventory.matches(receipt):
            damaged.append(data_name(receipt.part))
    finished = store.exists(SUCCESS)
    manifest = recorded_manifest(store)
    attempts = read_attempts(store)
    told = [each.get("number") for each in manifest.get("attempts") or [] if isinstance(each, dict)]
    counted = totals.parts == manifest.get("parts")
    if not finished and (not counted or told[-1:] != [each.number for each in attempts][-1:]):
        manifest = {}  # of an earlier run
    preflight = _json(store, PREFLIGHT)
    replicas = preflight.get("replicas") or []
    report = preflight.get("refused") or (replicas[0] if replicas else None)
    return Night(
        url=store.shown,
        run=run,
        manifest=manifest,
        finished=finished,
        planned=planned_parts(store),
        attempts=attempts,
        totals=totals,
        shards=shards,
        preflight=_report(report),
        refused="refused" in preflight,
        replicas=len(replicas),
        replaced=preflight.get("replaced") or [],
        examples=_examples(store, sorted(inventory.quarantine), set(totals.quarantined)),
        damaged=sorted(damaged),
    )


def _receipts(store: Store, run: dict[str, Any], inventory: Inventory) -> Iterator[Receipt]:
    """The receipts that count, each part once: if there are several, one that its file matches."""
    whose, known, seen = digest(run), run["input"]["shards"], set()
    others: dict[str, Receipt] = {}
    for _, receipt in read_receipts(store, inventory.receipts):
        if receipt is None or receipt.run != whose or receipt.part in seen:
            continue
        if known.get(receipt.shard, {}).get("etag") != receipt.etag:
            continue
        if inventory.matches(receipt):
            seen.add(receipt.part)
            yield receipt
        else:
            others[receipt.part] = receipt
    yield from (receipt for part, receipt in others.items() if part not in seen)


def _examples(store: Store, lists: list[str], reasons: set[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {reason: [] for reason in sorted(reasons)}
    for name in lists[:_LISTS_READ]:
        if all(len(each) >= _EXAMPLES for each in found.values()):
            break
        try:
            records = [json.loads(line) for line in store.read(name).splitlines()]
        except (FileNotFoundError, ValueError):
            continue
        for record in records:
            if not isinstance(record, dict):
                continue
            some = found.get(str(record.get("reason")), [])
            if len(some) < _EXAMPLES:
                some.append({**record, "list": name})
    return found


def _report(found: dict[str, Any] | None) -> Report | None:
    if found is None:
        return None
    known = {name: value for name, value in found.items() if name in Report.__dataclass_fields__}
    try:
        return Report.from_dict(known)
    except (KeyError, TypeError):  # of another version
        return None


def _json(store: Store, name: str) -> dict[str, Any]:
    try:
        found = json.loads(store.read(name))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
