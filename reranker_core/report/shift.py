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
_GROUPS = 4096  # of queries, which change sides together: as much noise, and bounded work
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
    width = len(edges)
    counts = [
        np.bincount(
            (queries % _GROUPS).astype(np.int64) * width + found, minlength=_GROUPS * width
        ).reshape(_GROUPS, width)
        for queries, found in zip(
            (queries_before, queries_after), np.split(bins, [len(before)]), strict=True
        )
    ]
    # A group that changes sides takes its counts with it: a row of `changes` for each permutation.
    swaps = np.random.default_rng(_SEED).integers(0, 2, (_PERMUTATIONS, _GROUPS))
    one = counts[0].sum(axis=0, dtype=np.float64)
    both_sides = one + counts[1].sum(axis=0)
    moved = one + swaps.astype(np.float64) @ (counts[1] - counts[0]).astype(np.float64)

    def distance(side: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        shares = [np.cumsum(each, axis=-1) for each in (side, both_sides - side)]
        shares = [each / np.maximum(each[..., -1:], 1) for each in shares]
        found: npt.NDArray[np.float64] = np.abs(shares[0] - shares[1]) @ widths / span
        return found

    noise = float(np.quantile(distance(moved), _LEVEL))
    return Shift(float(distance(one)), noise, span)
