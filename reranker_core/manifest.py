"""The end of a run: proof from the output itself, the manifest, and `_SUCCESS`."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from reranker_core import __version__
from reranker_core.commit import RECEIPTS, Receipt, data_name, receipt_name
from reranker_core.config import Config
from reranker_core.errors import Incomplete, OutputConflict, QuarantineExceeded, RerankError
from reranker_core.plan import Plan
from reranker_core.storage import Store

MANIFEST = "_manifest.json"
SUCCESS = "_SUCCESS"
_IO_THREADS = 16
_SHOWN_PROBLEMS = 5


@dataclass
class Totals:
    """Sums over receipts."""

    parts: int = 0
    rows: int = 0
    pairs: int = 0
    scored: int = 0
    rescued: int = 0
    distinct: int = 0
    tokens: int = 0
    size: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)

    def add(self, receipt: Receipt) -> None:
        """Count one more part."""
        self.parts += 1
        for name in ("rows", "pairs", "scored", "rescued", "distinct", "tokens", "size"):
            setattr(self, name, getattr(self, name) + getattr(receipt, name))
        self.quarantined.update(receipt.quarantined)

    @property
    def quarantined_pairs(self) -> int:
        """Pairs without a score, for whatever reason."""
        return sum(self.quarantined.values())

    @property
    def quarantined_fraction(self) -> float:
        """Of all pairs."""
        return self.quarantined_pairs / max(self.pairs, 1)


def committed_parts(store: Store, plan: Plan) -> set[str]:
    """The names of the plan's parts that have a receipt.

    Raises:
        OutputConflict: there are data files that belong to no part.

    """
    sizes = store.sizes()
    refuse_foreign(store, sizes, plan)
    return {part.name for part in plan.parts if receipt_name(part.name) in sizes}


def refuse_foreign(store: Store, sizes: dict[str, int], plan: Plan) -> None:
    """Refuse data files that belong to no part of the plan.

    Raises:
        OutputConflict: naming one of them.

    """
    names = {data_name(part.name) for part in plan.parts}
    foreign = sorted(n for n in sizes if n not in names and not n.startswith("_"))
    if foreign:
        raise OutputConflict(
            f"{store.url} holds {len(foreign)} files that are not of this run, such as "
            f"{foreign[0]}; readers would take them for results. Move them away and run again"
        )


def conclude(store: Store, plan: Plan, config: Config, run: str, facts: dict[str, Any]) -> Totals:
    """Prove the output, write the manifest, and `_SUCCESS` if nothing is amiss.

    Raises:
        Incomplete: a part has no receipt, or its file is not what the receipt says.
        OutputConflict: there are data files that belong to no part.
        QuarantineExceeded: too many pairs have no score.

    """
    try:
        totals = prove(store, plan, run)
    except RerankError:
        store.delete(SUCCESS)  # of an earlier run, and true no longer
        raise
    exceeded = totals.quarantined_fraction > config.guard.max_quarantined_fraction
    manifest = {
        "state": "over_quarantine_limit" if exceeded else "complete",
        "version": __version__,
        "run": run,
        "shards": len(plan.shards),
        "parts": totals.parts,
        "rows": totals.rows,
        "pairs": totals.pairs,
        "scored": totals.scored,
        "rescued": totals.rescued,
        "quarantined": dict(totals.quarantined),
        "distinct_pairs": totals.distinct,
        "tokens": totals.tokens,
        "bytes": totals.size,
        **facts,
    }
    store.write(MANIFEST, json.dumps(manifest, indent=1).encode())
    if exceeded:
        store.delete(SUCCESS)
        raise QuarantineExceeded(
            f"{totals.quarantined_pairs} of {totals.pairs} pairs "
            f"({totals.quarantined_fraction:.2%}) have no score, more than "
            f"guard.max_quarantined_fraction={config.guard.max_quarantined_fraction:.2%}: "
            f"{dict(totals.quarantined)}. They are listed in {store.url}/_quarantine. Mend the "
            "input, or raise the limit and run again: what is scored stays"
        )
    store.write(SUCCESS, b"")
    return totals


def prove(store: Store, plan: Plan, run: str) -> Totals:
    """Check the data files against receipts and plan: none missing, none foreign, rows as planned.

    Raises:
        Incomplete, OutputConflict: as for `conclude`.

    """
    sizes = store.sizes()
    refuse_foreign(store, sizes, plan)
    unfinished = [part.name for part in plan.parts if receipt_name(part.name) not in sizes]
    if unfinished:
        raise Incomplete(
            f"{len(unfinished)} of {len(plan.parts)} parts are not committed, such as "
            f"{unfinished[0]}; run the same command again to resume"
        )
    receipts = store.read_many([receipt_name(part.name) for part in plan.parts])
    totals = Totals()
    problems: list[str] = []
    with ThreadPoolExecutor(_IO_THREADS) as threads:
        rows = threads.map(lambda part: _file_rows(store, data_name(part.name)), plan.parts)
        for part, data, found in zip(plan.parts, receipts, rows, strict=True):
            try:
                receipt = Receipt.from_json(data)
            except ValueError:
                problems.append(f"{receipt_name(part.name)}: is damaged")
                continue
            totals.add(receipt)
            accounted = receipt.scored + sum(receipt.quarantined.values())
            if not (
                found == receipt.rows == part.rows
                and sizes.get(data_name(part.name)) == receipt.size
                and accounted == receipt.pairs
                and receipt.run == run
            ):
                problems.append(
                    f"{data_name(part.name)}: {found} rows, {sizes.get(data_name(part.name))} "
                    f"bytes, run {receipt.run}; "
                    f"expected {part.rows} rows, {receipt.size} bytes, run {run}"
                )
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[:_SHOWN_PROBLEMS])
        raise Incomplete(
            f"{len(problems)} files in {store.url} are not what was committed:\n{shown}\n"
            f"Delete their receipts in {RECEIPTS}/ and run again to score them anew"
        )
    return totals


def _file_rows(store: Store, name: str) -> int | None:
    try:
        with store.filesystem.open(store.path(name), "rb") as file:
            return int(pq.ParquetFile(file).metadata.num_rows)
    except (OSError, ValueError):
        return None
