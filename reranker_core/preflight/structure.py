"""Cheap looks at the numbers of loaded weights: damage that no key, shape or size tells.

Each matrix is read once. Only what training and honest rounding or pruning cannot leave behind
counts, so that a random, rounded, pruned, tied or padded model passes.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch

from reranker_core.checks import Check
from reranker_core.models.family import LoadedModel

_SHOWN = 4
# Smaller tables are those of token types and the like; RoBERTa leaves its one type at zero.
_LEAST_ROWS = 16
_LEAST_VALUES = 4096
# What counts as a run of zeros, and as zeros strewn over a matrix: so many in a row, and this share
# of it, in this share of the rows.
_LEAST_RUN = 64
_LEAST_ZEROS, _LEAST_SHARE, _LEAST_STREWN = 8, 0.005, 0.05
_GAP, _LARGEST_SHARE = 0.3, 0.3
_ROWS_LOOKED_AT = 256
_LEAST_STEPS = 3
# Who trains with zeros at random places has them in most matrices.
_SPARSE = 0.45
# 3 bits have 8 values, and 4 bits with one scale a matrix have 16. Rounded so coarsely, models rank
# otherwise. Scales are for 32 numbers and more.
_GROUP, _FEWEST_IN_GROUP = 64, 8
_FEWEST_IN_MATRIX = 16
_COMPARED = 64
_LAYER = re.compile(r"\.\d+\.")


def check_structure(loaded: LoadedModel, words: Sequence[int] = ()) -> list[Check]:
    """No matrix without content, no holes, no layer twice, no rounding to a handful of values, and
    a row of its own for each token of `words`, which are the ids of plain text.
    """
    matrices = dict(_matrices(loaded))
    zeros = {name: _share_of_zeros(weight) for name, weight in matrices.items()}
    sparse = bool(zeros) and statistics.median(zeros.values()) >= _SPARSE
    torn = [n for n, share in zeros.items() if 0 < share < 1 and _has_holes(matrices[n], sparse)]
    return [
        _found(
            "not_empty",
            [name for name, share in zeros.items() if share == 1],
            "no matrix that contains only zeros",
            "A layer was not saved, or a part of the file is missing, for example after an "
            "interrupted download. Copy the checkpoint again and compare digests.",
        ),
        _found(
            "no_holes",
            torn,
            "no exact zeros, in a row or scattered, next to values close to zero",
            "A part of the file was not written, for example after an interrupted download, or "
            "values were lost. Copy the checkpoint again and compare digests. If the model was "
            "pruned intentionally, set preflight.checks.weights=warn.",
        ),
        _found(
            "layers_differ",
            _twins(matrices),
            "no two layers with equal matrices",
            "One layer was saved twice, in place of another layer. Use the checkpoint that "
            "training wrote. If layers were duplicated intentionally, set "
            "preflight.checks.weights=warn.",
        ),
        _found(
            "precise",
            _coarse(matrices),
            f"more than {_FEWEST_IN_GROUP} different values among {_GROUP} neighbours, and more "
            f"than {_FEWEST_IN_MATRIX} different values in a matrix",
            "The weights were quantised to 2 to 4 bits, with one scale for too many weights. "
            "Use the original checkpoint, from before the quantisation.",
        ),
        _check_rows(loaded, words),
    ]


def _matrices(loaded: LoadedModel) -> Iterator[tuple[str, torch.Tensor]]:
    """Matrices of the body, each once. What a head must be is for `weights/head_trained`."""
    for name, weight in loaded.model.named_parameters():
        head = bool(loaded.head) and name.startswith(loaded.head)
        large = weight.dim() == 2 and min(weight.shape) >= _LEAST_ROWS
        if large and weight.numel() >= _LEAST_VALUES and weight.is_floating_point() and not head:
            yield name, weight.detach()


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


def _coarse(matrices: dict[str, torch.Tensor]) -> list[str]:
    """Matrices of layers that hold few values, if most are so: a single outlier in one of them
    takes the range of a whole scale.
    """
    layers = {name: weight for name, weight in matrices.items() if _LAYER.search(name)}
    found = [name for name, weight in layers.items() if _is_coarse(weight)]
    return found if 2 * len(found) >= len(layers) else []


def _is_coarse(weight: torch.Tensor) -> bool:
    rows = weight[:: max(1, len(weight) // _LEAST_ROWS)][:_LEAST_ROWS]
    groups = [g for row in rows for g in row.split(_GROUP) if len(g) == _GROUP and g.any()]
    if not groups:
        return False
    values = statistics.median(len(group.unique()) for group in groups)
    return values <= _FEWEST_IN_GROUP or len(rows.unique()) <= _FEWEST_IN_MATRIX


def _twins(matrices: dict[str, torch.Tensor]) -> list[str]:
    """Matrices of two layers that are equal and have one place in them."""
    places: dict[tuple[str, tuple[float, ...]], list[str]] = defaultdict(list)
    for name, weight in matrices.items():
        if _LAYER.search(name):
            flat = weight.flatten()
            some = flat[:: max(1, len(flat) // _COMPARED)][:_COMPARED]
            if some.any():
                places[_LAYER.sub(".*.", name), tuple(some.tolist())].append(name)
    return [
        f"{first} = {other}"
        for first, *others in places.values()
        for other in others
        if torch.equal(matrices[first], matrices[other])
    ]


def _check_rows(loaded: LoadedModel, words: Sequence[int]) -> Check:
    table = loaded.model.get_input_embeddings().weight.detach()
    ids = sorted({i for i in words if i < len(table)})
    rows = table[torch.tensor(ids, dtype=torch.long, device=table.device)].float()
    empty = int((~rows.any(1)).sum()) if ids else 0
    same = len(ids) - len(rows.unique(dim=0)) - max(empty - 1, 0) if ids else 0
    return Check(
        "weights",
        "words_have_rows",
        not empty and not same,
        f"of {len(ids)} tokens of plain text, {empty} have an embedding of zeros and {same} have "
        "the same embedding as another token",
        "a different embedding for each token",
        "The embedding table is damaged, or it belongs to another vocabulary. Copy the "
        "checkpoint again and compare digests.",
    )


def _found(name: str, keys: Sequence[str], expected: str, remedy: str) -> Check:
    shown = ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
    measured = f"{len(keys)} found: {shown}" if keys else "none found"
    return Check("weights", name, not keys, measured, expected, remedy)
