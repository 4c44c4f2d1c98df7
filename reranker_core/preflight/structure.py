"""Checks of the values of loaded weights: damage that changes no name, shape or size.

Each matrix is read a few times. A check reacts only to what training, rounding and pruning cannot
leave behind. So random, rounded, pruned, tied and padded models pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reranker_core.checks import Check
from reranker_core.models.family import LoadedModel
from reranker_core.preflight.copies import check_copies
from reranker_core.preflight.fit import check_fit
from reranker_core.preflight.matrices import matrices_of
from reranker_core.preflight.rounding import check_precision
from reranker_core.preflight.vectors import check_vectors
from reranker_core.preflight.zeros import check_zeros


def check_structure(loaded: LoadedModel, words: Sequence[int] = ()) -> list[Check]:
    """All of them. `words` are the token ids of plain text."""
    matrices = matrices_of(loaded)
    return [
        *check_zeros(matrices),
        *check_copies(matrices),
        check_precision(matrices),
        check_fit(loaded, matrices),
        check_vectors(loaded),
        _check_rows(loaded, words),
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
        f"tokens of plain text: {len(ids)}; with an embedding of zeros: {empty}; with the same "
        f"embedding as another token: {same}",
        "a different embedding for each token",
        "The embedding table is damaged, or it belongs to another vocabulary. Copy the "
        "checkpoint again and compare digests.",
    )
