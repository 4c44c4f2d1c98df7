"""The distribution of scores: of a part from its scores, of a run from the quantiles of its parts.

This makes unusual parts visible without reading all scores again.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_NAMES = ("min", "p05", "p25", "p50", "p75", "p95", "max")
_PROBABILITIES = np.array([0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
_GRID = 256  # points of a merged distribution
_MERGED_AT_ONCE = 512
# A part is unlike the others if its median lies so many interquartile ranges from the run's.
_UNLIKE = 1.5
_EXTREMES = 5  # parts that are remembered at each end


def describe(scores: np.ndarray) -> dict[str, float]:
    """Quantiles, mean and fraction of tied scores; empty without scores."""
    if not len(scores):
        return {}
    quantiles = np.quantile(scores, _PROBABILITIES)
    found = {name: round(float(q), 6) for name, q in zip(_NAMES, quantiles, strict=True)}
    found["mean"] = round(float(scores.mean(dtype=np.float64)), 6)
    found["tied"] = round(1 - len(np.unique(scores)) / len(scores), 6)
    return found


@dataclass
class Distribution:
    """The scores of all parts added so far. Memory does not grow with parts.

    Quantiles between minimum and maximum are interpolated from those of the parts; count, mean,
    minimum and maximum are exact, to the digits of the receipts.
    """

    count: int = 0
    _sum: float = 0.0
    _tied: float = 0.0
    _parts: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)
    _low: list[tuple[float, str]] = field(default_factory=list)
    _high: list[tuple[float, str]] = field(default_factory=list)

    def add(self, part: str, count: int, scores: dict[str, float]) -> None:
        """Add the result of `describe` for `count` scores."""
        if not scores:
            return
        self.count += count
        self._sum += count * scores["mean"]
        self._tied += count * scores["tied"]
        values = np.array([scores[name] for name in _NAMES])
        self._parts.append((count, values, _PROBABILITIES))
        if len(self._parts) >= _MERGED_AT_ONCE:
            self._parts = [self._merged()]
        for heap, key in ((self._low, -scores["p50"]), (self._high, scores["p50"])):
            heapq.heappush(heap, (key, part))
            if len(heap) > _EXTREMES:
                heapq.heappop(heap)

    def summary(self) -> dict[str, Any]:
        """Like `describe`, with the count and the unusual parts."""
        if not self.count:
            return {"count": 0}
        _, values, probabilities = self._merged()
        quantiles = np.interp(_PROBABILITIES, probabilities, values)
        found = dict(zip(_NAMES, (round(float(q), 6) for q in quantiles), strict=True))
        return {
            "count": self.count,
            **found,
            "mean": round(self._sum / self.count, 6),
            "tied_within_parts": round(self._tied / self.count, 6),
            "unlike": self._unlike(found),
        }

    def cumulative(self) -> tuple[np.ndarray, np.ndarray]:
        """At most 256 ascending scores, and the fraction of scores at or below each."""
        if not self.count:
            return np.zeros(0), np.zeros(0)
        _, values, probabilities = self._merged()
        return values, probabilities

    def _unlike(self, run: dict[str, float]) -> list[dict[str, Any]]:
        usual = run["p75"] - run["p25"]
        medians = {part: -key for key, part in self._low} | {p: key for key, p in self._high}
        far = {p: m for p, m in medians.items() if abs(m - run["p50"]) > _UNLIKE * usual}
        order = sorted(far, key=lambda part: -abs(far[part] - run["p50"]))
        return [{"part": part, "median": far[part]} for part in order]

    def _merged(self) -> tuple[int, np.ndarray, np.ndarray]:
        """One distribution: the mixture of the parts', at points where they have theirs."""
        points = np.unique(np.concatenate([values for _, values, _ in self._parts]))
        if len(points) > _GRID:
            points = np.unique(np.quantile(points, np.linspace(0, 1, _GRID)))
        total = sum(count for count, _, _ in self._parts)
        below = np.zeros(len(points))
        for count, values, probabilities in self._parts:
            below += count / total * _share_below(points, values, probabilities)
        return total, points, np.maximum.accumulate(below)


def _share_below(points: np.ndarray, values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    # Of equal values (ties) the last probability counts: that many scores are at most this.
    last = np.append(values[1:] != values[:-1], True)
    first = values[0]
    shares = np.interp(points, values[last], probabilities[last], left=0.0, right=1.0)
    return np.where(points < first, 0.0, shares)
