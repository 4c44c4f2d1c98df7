"""Matrices that hold too few different values."""

from __future__ import annotations

import statistics

import torch

from reranker_core.checks import Check
from reranker_core.preflight.matrices import LAYER, LEAST_ROWS, Matrices, finding

# 3 bits have 8 values, and 4 bits with one scale for a matrix have 16. Rounded so coarsely, models
# rank otherwise. Common formats have one scale for 32 values or more.
_GROUP, _FEWEST_IN_GROUP = 64, 8
_FEWEST_IN_MATRIX = 16


def check_precision(matrices: Matrices) -> Check:
    """Not rounded to a few values."""
    return finding(
        "precise",
        _coarse(matrices),
        f"more than {_FEWEST_IN_GROUP} different values among {_GROUP} neighbours, and more "
        f"than {_FEWEST_IN_MATRIX} different values in a matrix",
        "The weights were quantised to 2 to 4 bits, with one scale for too many weights. "
        "Use the original checkpoint, from before the quantisation.",
    )


def _coarse(matrices: Matrices) -> list[str]:
    """Matrices of layers with few values, if most of them are so. A single matrix may have an
    outlier that takes the whole range of its scale.
    """
    layers = {name: weight for name, weight in matrices.items() if LAYER.search(name)}
    found = [name for name, weight in layers.items() if _is_coarse(weight)]
    return found if 2 * len(found) >= len(layers) else []


def _is_coarse(weight: torch.Tensor) -> bool:
    rows = weight[:: max(1, len(weight) // LEAST_ROWS)][:LEAST_ROWS]
    groups = [g for row in rows for g in row.split(_GROUP) if len(g) == _GROUP and g.any()]
    if not groups:
        return False
    values = statistics.median(len(group.unique()) for group in groups)
    return values <= _FEWEST_IN_GROUP or len(rows.unique()) <= _FEWEST_IN_MATRIX
