"""The scores of each shard, from the receipts of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reranker_core.output.receipts import Receipt

_NAMES = ("p05", "p25", "p50", "p75", "p95", "mean")
# A shard is unlike the others if its median lies so many interquartile ranges from theirs.
_UNLIKE = 1.5
_LEAST = 1e-6  # of that range, where scores are constant


@dataclass(frozen=True)
class Shard:
    """The scores of one shard. Quantiles are means over its parts, weighted by their scores.

    Attributes:
        pairs, scored: counts.
        distance: from the median of all shards to this one's, in interquartile ranges of all
            scores.

    """

    name: str
    pairs: int
    scored: int
    p05: float
    p25: float
    p50: float
    p75: float
    p95: float
    mean: float
    distance: float = 0.0

    @property
    def is_unlike(self) -> bool:
        """Whether it lies far from the others."""
        return abs(self.distance) > _UNLIKE

    @property
    def unscored_fraction(self) -> float:
        """Fraction of its pairs without a score."""
        return 1 - self.scored / max(self.pairs, 1)


class ShardScores:
    """Sums over the parts of each shard: some 100 bytes a shard."""

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, receipt: Receipt) -> None:
        """Add a part."""
        sums = self._sums.setdefault(receipt.shard, np.zeros(2 + len(_NAMES)))
        values = [receipt.scores.get(name, 0.0) for name in _NAMES]
        sums[:2] += (receipt.pairs, receipt.scored)
        sums[2:] += receipt.scored * np.array(values)

    def __iter__(self) -> Iterator[Shard]:
        """The shards with scores, by name."""
        if not self._sums:
            return
        names = sorted(name for name, sums in self._sums.items() if sums[1])
        values = np.array([self._sums[name] for name in names]).reshape(len(names), 2 + len(_NAMES))
        pairs, scored = values[:, 0].astype(int), values[:, 1].astype(int)
        quantiles = values[:, 2:] / values[:, 1:2]
        middle = np.median(quantiles[:, 2]) if names else 0.0
        # Of all scores: within shards, since one shard may be the odd one.
        usual = np.median(quantiles[:, 3] - quantiles[:, 1]) if names else 0.0
        for index, name in enumerate(names):
            p05, p25, p50, p75, p95, mean = map(float, quantiles[index])
            distance = (p50 - float(middle)) / max(float(usual), _LEAST)
            counts = int(pairs[index]), int(scored[index])
            yield Shard(name, *counts, p05, p25, p50, p75, p95, mean, distance)
