"""Zeros that training, rounding and pruning cannot leave in a matrix."""

from __future__ import annotations

import statistics

import torch

from reranker_core.checks import Check
from reranker_core.preflight.matrices import Matrices, finding

# A run of zeros has so many side by side. Scattered zeros are this share of a row, in this share of
# all rows.
_LEAST_RUN = 64
_LEAST_ZEROS, _LEAST_SHARE, _LEAST_STREWN = 8, 0.005, 0.05
_GAP, _LARGEST_SHARE = 0.3, 0.3
_ROWS_LOOKED_AT = 256
_LEAST_STEPS = 3
# Models that were trained with zeros at random places have them in most matrices.
_SPARSE = 0.45


def check_zeros(matrices: Matrices) -> list[Check]:
    """No matrix of zeros, and no zeros without a reason."""
    zeros = {name: _share_of_zeros(weight) for name, weight in matrices.items()}
    sparse = bool(zeros) and statistics.median(zeros.values()) >= _SPARSE
    torn = [n for n, share in zeros.items() if 0 < share < 1 and _has_holes(matrices[n], sparse)]
    return [
        finding(
            "not_empty",
            [name for name, share in zeros.items() if share == 1],
            "no matrix that contains only zeros",
            "A layer was not saved, or a part of the file is missing, for example after an "
            "interrupted download. Copy the checkpoint again and compare digests.",
        ),
        finding(
            "no_holes",
            torn,
            "only zeros that rounding or pruning explains",
            "A part of the file was not written, for example after an interrupted download, or "
            "values were lost. Copy the checkpoint again and compare digests. If the model was "
            "pruned intentionally, set preflight.checks.weights=warn.",
        ),
    ]


def _share_of_zeros(weight: torch.Tensor) -> float:
    return 1 - int(torch.count_nonzero(weight)) / weight.numel()


def _has_holes(weight: torch.Tensor, sparse: bool) -> bool:
    """Zeros that neither rounding nor pruning explains, in a run or strewn over the matrix.

    Columns and rows of zeros are left out: padding, tokens that no text has, pruned heads.
    """
    zero = weight == 0
    columns = zero.logical_not().any(0)
    if _in_a_grid(columns.logical_not().nonzero().flatten()):
        return True
    zeros = (zero & columns).sum(1)
    width = int(columns.sum())
    partly = (zeros >= max(_LEAST_ZEROS, _LEAST_SHARE * width)) & (zeros < width)
    rows = partly.nonzero().flatten()
    if not len(rows):
        return False
    if not sparse and len(rows) >= _LEAST_STREWN * len(weight) and _no_gap(weight, rows, columns):
        return True
    run = torch.cat([some[_with_a_run(zero[some][:, columns])] for some in rows.split(1024)])
    return bool(len(run)) and _no_gap(weight, run, columns)


def _in_a_grid(places: torch.Tensor) -> bool:
    """Equally far apart, and not side by side."""
    steps = places.diff()
    return len(steps) >= _LEAST_STEPS and int(steps.min()) == int(steps.max()) > 1


def _with_a_run(zero: torch.Tensor) -> torch.Tensor:
    """Which rows hold so many zeros side by side; shape (rows,)."""
    before = torch.nn.functional.pad(zero.int().cumsum(1), (1, 0))
    return (before[:, _LEAST_RUN:] - before[:, :-_LEAST_RUN] == _LEAST_RUN).any(1)


def _no_gap(weight: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> bool:
    """Whether zeros stand beside values far smaller than those that rounding would have left.

    Rounding and pruning take the smallest values of a row, and leave a gap around zero. So the
    smallest value that is left is at least half of that below which as many lie as there are
    zeros. Where zeros are strewn, it is that value divided by their number, on average.
    """
    some = rows[:: len(rows) // _ROWS_LOOKED_AT + 1]
    sizes = weight[some][:, columns].abs().float().sort(1).values
    width = sizes.shape[1]
    zeros = (sizes == 0).sum(1, keepdim=True)
    smallest = sizes.gather(1, zeros)
    share = (zeros / width).clamp(max=_LARGEST_SHARE)
    as_many = sizes.gather(1, zeros + ((width - zeros) * share).long())
    return bool((smallest < _GAP * as_many).float().mean() > 0.5)
