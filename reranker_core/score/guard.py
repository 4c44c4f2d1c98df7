"""Scores that are NaN or infinite are computed again in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from reranker_core.checks import Check, Report
from reranker_core.encode.sequences import Int64s
from reranker_core.errors import PreflightRefused, count
from reranker_core.models.scores import Scores

Floats = npt.NDArray[np.float32]

# Scores are computed again one by one, so many of them would turn hours into days. Of a few
# sequences, a large share says nothing about the others.
FEW = 100
_FEW_OF_MANY = 0.05


def require_few(values: Floats, dtype: str) -> None:
    """Some scores of a number format may be non-finite, for they are computed again.

    Args:
        values: scores, shape (D,), or (D, k).
        dtype: their number format.

    Raises:
        PreflightRefused: so many are not finite that the format does not suit the model.

    """
    bad = int((~_finite(values)).sum())
    if dtype == "float32" or bad <= max(FEW, _FEW_OF_MANY * len(values)):
        return
    wider = "bfloat16 or float32" if dtype == "float16" else "float32"
    check = Check(
        "numerics",
        "finite",
        False,
        f"{count(bad, 'score')} of {len(values):,} computed at once in {dtype} are not finite",
        f"at most {_FEW_OF_MANY:.0%}",
        f"This number format does not suit the model. Set model.dtype={wider}. An output that has "
        "scores keeps its number format, so set another output.path, too.",
    )
    raise PreflightRefused(str(check), Report((check,)).as_dict())


def rescue(
    values: Floats,
    redo: Callable[[Int64s], Iterable[npt.ArrayLike]],
    most: int | None = None,
) -> Scores:
    """Compute pairs with a non-finite score again, each alone.

    Args:
        values: scores, shape (D,), or (D, k).
        redo: from indices of pairs to the float32 score, or the k scores, of each of them.
        most: number of pairs that are computed again at most; None: all.

    Returns:
        Scores that are NaN where they are still not finite.

    """
    suspects = np.flatnonzero(~_finite(values))
    if not len(suspects):
        return Scores(values, 0)
    values = values.copy()
    values[suspects] = np.nan
    for index, found in zip(suspects, redo(suspects[:most]), strict=False):
        values[index] = found if np.isfinite(found).all() else np.nan
    return Scores(values, int(_finite(values[suspects]).sum()))


def _finite(values: Floats) -> npt.NDArray[np.bool_]:
    """Whether all scores of each pair are finite, shape (D,)."""
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
