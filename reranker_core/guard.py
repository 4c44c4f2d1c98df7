"""No NaN or Inf leaves a replica as a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Scores:
    """Scores of D distinct pairs.

    Attributes:
        values: float32, shape (D,); NaN exactly where no finite score could be had. Of models that
            give each pair k scores: shape (D, k), and NaN for all of them where one is not finite.
        rescued: how many were not finite at first, and finite in float32.
        fatal: those that were not computed, because computing them ended the process.
        computed_tokens: tokens that were run through the model, padding included.

    """

    values: npt.NDArray[np.float32]
    rescued: int
    fatal: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    computed_tokens: int = 0


def rescue(values: npt.NDArray[np.float32], redo: Callable[[int], npt.ArrayLike]) -> Scores:
    """Compute each pair with a non-finite score again, alone, with `redo` (index -> its float32
    score, or all k of them).
    """
    suspects = np.flatnonzero(~_finite(values))
    if not len(suspects):
        return Scores(values, 0)
    values = values.copy()
    for index in suspects:
        found = redo(int(index))
        values[index] = found if np.isfinite(found).all() else np.nan
    return Scores(values, int(_finite(values[suspects]).sum()))


def _finite(values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which pairs have nothing but finite scores, shape (D,)."""
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
