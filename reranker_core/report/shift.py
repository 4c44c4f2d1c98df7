"""How far two sets of scores are apart, and how far chance alone would put them.

The distance is the first Wasserstein distance (the area between the two cumulative distributions;
Villani, "Optimal Transport", 2009), as a fraction of the range from the 5 % to the 95 % quantile of
the earlier scores. Its noise comes from a permutation test (Good, "Permutation, Parametric and
Bootstrap Tests of Hypotheses", 2005): each query changes sides with probability one half. Queries
are exchanged whole, because the scores of one query are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_BINS = 400
_PERMUTATIONS = 200
_LEVEL = 0.99
_SEED = 0


@dataclass(frozen=True)
class Shift:
    """Of scores between two outputs.

    Attributes:
        distance: Wasserstein distance, as a fraction of `span`.
        noise: the 99 % quantile of the distance that chance alone gives.
        span: 5 % to 95 % of the earlier scores, in score units.

    """

    distance: float
    noise: float
    span: float


def shift(
    before: npt.NDArray[np.floating],
    after: npt.NDArray[np.floating],
    queries_before: npt.NDArray[np.uint64],
    queries_after: npt.NDArray[np.uint64],
) -> Shift | None:
    """The shift between two arrays of finite scores; None if one of them is empty.

    Args:
        before: scores, shape (M,).
        after: scores, shape (N,).
        queries_before: the query of each score, by any number that is the same in both.
        queries_after: the same for `after`.

    """
    if not len(before) or not len(after):
        return None
    low, high = np.quantile(before, (0.05, 0.95))
    span = float(high - low) or float(np.ptp(before)) or 1.0
    both = np.concatenate([before, after]).astype(np.float64)
    edges = np.unique(np.quantile(both, np.linspace(0, 1, _BINS + 1)))
    # The area below each edge is exact; between them the distributions are steps.
    bins = np.searchsorted(edges, both, side="left")
    widths = np.append(np.diff(edges), 0.0)
    side = np.repeat([0, 1], [len(before), len(after)])
    _, query = np.unique(np.concatenate([queries_before, queries_after]), return_inverse=True)

    def distance(sides: npt.NDArray[np.int64]) -> float:
        counts = np.bincount(bins + len(edges) * sides, minlength=2 * len(edges))
        shares = np.cumsum(counts.reshape(2, -1), axis=1, dtype=np.float64)
        shares /= np.maximum(shares[:, -1:], 1)
        return float(np.abs(shares[0] - shares[1]) @ widths) / span

    random = np.random.default_rng(_SEED)
    number = int(query.max()) + 1
    chance = [distance(side ^ random.integers(0, 2, number)[query]) for _ in range(_PERMUTATIONS)]
    return Shift(distance(side), float(np.quantile(chance, _LEVEL)), span)
