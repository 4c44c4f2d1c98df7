"""Differences in what outputs are made of: values of columns, lengths, pairs without a score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reranker_core.report.scored_pairs import Columns, scored_pairs
from reranker_core.storage.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MOST_VALUES = 30
_MOST_COLUMNS = 5
_LEAST_SHIFT = 0.05  # of the queries
_ERRORS = 3.0
_LENGTHS = 0.1  # relative
_QUARANTINE = 0.001  # of the pairs


def mixes(
    connection: DuckDBPyConnection,
    stores: tuple[Store, Store],
    runs: tuple[dict[str, Any], dict[str, Any]],
    manifests: tuple[dict[str, Any], dict[str, Any]],
    types: list[dict[str, str]],
    limit: int,
) -> list[str]:
    """Each difference beyond chance, in a sentence."""
    found = []
    for column in _columns(runs, types)[:_MOST_COLUMNS]:
        shares = [
            _shares(connection, store, run, column, limit)
            for store, run in zip(stores, runs, strict=True)
        ]
        found += _difference(column, *shares)
    lengths = [each.get("tokens", 0) / max(each.get("distinct_pairs", 0), 1) for each in manifests]
    # Where scores are used again, tokens are known of the new pairs only.
    comparable = min(lengths) > 0 and not any(each.get("reuse") for each in manifests)
    if comparable and abs(lengths[1] / lengths[0] - 1) > _LENGTHS:
        found.append(f"length: {lengths[0]:.1f} tokens per pair before, {lengths[1]:.1f} now")
    return found + _quarantine(*manifests)


def _columns(runs: tuple[dict[str, Any], ...], types: list[dict[str, str]]) -> list[str]:
    """Columns of text in both outputs, other than those of the job."""
    known: set[str] = set()
    for run in runs:
        known |= set(run["output"]["columns"].values()) | set(run["input"]["columns"].values())
    both = [name for name, kind in types[1].items() if types[0].get(name) == kind]
    return [name for name in both if types[1][name] in ("VARCHAR", "BOOLEAN") and name not in known]


def _shares(
    connection: DuckDBPyConnection, store: Store, run: dict[str, Any], column: str, limit: int
) -> dict[str, int]:
    """Number of sampled queries by value; empty for a column with many values."""
    relation = scored_pairs(connection, store, Columns.of_run(run, group=column), limit)
    rows = connection.execute(
        f"SELECT grp, count(DISTINCT query) FROM {relation.sql} GROUP BY grp "
        f"LIMIT {_MOST_VALUES + 1}"
    ).fetchall()
    return {} if len(rows) > _MOST_VALUES else dict(rows)


def _difference(column: str, before: dict[str, int], after: dict[str, int]) -> list[str]:
    """The value whose share changed most, if the shares changed by more than chance."""
    if not before or not after:
        return []
    values = sorted(before.keys() | after.keys())
    counts = np.array([[each.get(value, 0) for value in values] for each in (before, after)])
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / totals
    change = shares[1] - shares[0]
    pooled = counts.sum(axis=0) / totals.sum()
    error = np.sqrt(pooled * (1 - pooled) * (1 / totals).sum())
    beyond = np.abs(change) - np.maximum(_ERRORS * error, _LEAST_SHIFT)
    most = max(range(len(values)), key=lambda value: (round(beyond[value], 9), change[value]))
    if beyond[most] <= 0:
        return []
    return [
        f"{column}: {shares[0][most]:.1%} of the queries have the value {values[most]} before, "
        f"{shares[1][most]:.1%} now"
    ]


def _quarantine(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    pairs = [each.get("pairs") or 0 for each in (before, after)]
    if not all(pairs):
        return []
    bad = [sum((each.get("quarantined") or {}).values()) for each in (before, after)]
    shares = [part / whole for part, whole in zip(bad, pairs, strict=True)]
    pooled = sum(bad) / sum(pairs)
    error = (pooled * (1 - pooled) * sum(1 / number for number in pairs)) ** 0.5
    if abs(shares[1] - shares[0]) <= max(_ERRORS * error, _QUARANTINE):
        return []
    return [f"pairs without a score: {shares[0]:.2%} before, {shares[1]:.2%} now"]
