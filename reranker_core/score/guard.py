"""Scores that are NaN or infinite are computed again in float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from reranker_core.models.scores import Scores


def rescue(values: npt.NDArray[np.float32], redo: Callable[[int], npt.ArrayLike]) -> Scores:
    """Compute each pair with a non-finite score again, alone, with `redo` (index -> its float32
    score, or all its k scores).
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
    """Whether all scores of each pair are finite, shape (D,)."""
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
