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
        values: float32, shape (D,); NaN exactly where no finite score could be had.
        rescued: how many were not finite at first, and finite in float32.
        fatal: those that were not computed, because computing them ended the process.
        computed_tokens: tokens that were run through the model, padding included.

    """

    values: npt.NDArray[np.float32]
    rescued: int
    fatal: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    computed_tokens: int = 0


def rescue(values: npt.NDArray[np.float32], redo: Callable[[int], float]) -> Scores:
    """Compute each non-finite score again, alone, with `redo` (index -> float32 score)."""
    suspects = np.flatnonzero(~np.isfinite(values))
    if not len(suspects):
        return Scores(values, 0)
    values = values.copy()
    for index in suspects:
        score = redo(int(index))
        values[index] = score if np.isfinite(score) else np.nan
    return Scores(values, int(np.isfinite(values[suspects]).sum()))
