"""With score.reproducible a GPU gives a pair the same bits, whatever it is batched with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from reranker_core.score.scorer import Scorer
from tests.cuda.families import PAIRS

NAMES = ["bert", "modernbert", "gemma", "qwen3_classifier", "monot5", "deberta"]
WIDE = ["wide_bert", "wide_modernbert", "wide_llama"]
FIXED = "score.reproducible=true"
ALONE = [*range(0, len(PAIRS), 7)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [*NAMES, *WIDE])
def test_scores_have_the_same_bits_alone_and_in_any_company(
    name: str, dtype: str, scorer_of: Callable[..., Scorer]
):
    scorer = scorer_of(name, FIXED, f"model.dtype={dtype}")
    assert scorer.reproducible
    expected = scorer.score_pairs(PAIRS)
    assert np.isfinite(expected).all()
    order = np.random.default_rng(0).permutation(len(PAIRS))
    some = np.sort(order[: len(order) // 3])
    found = {
        "again": scorer.score_pairs(PAIRS),
        "backward": scorer.score_pairs(PAIRS[::-1])[::-1],
        "in another order": _back(scorer.score_pairs([PAIRS[i] for i in order]), order),
    }
    wrong = {what: _differing(scores, expected) for what, scores in found.items()}
    few = scorer.score_pairs([PAIRS[i] for i in some])
    wrong["a third of them"] = _differing(few, expected[some])
    alone = np.concatenate([scorer.score_pairs([PAIRS[i]]) for i in ALONE])
    wrong["alone"] = _differing(alone, expected[ALONE])
    assert not any(wrong.values()), {what: told for what, told in wrong.items() if told}


def _back(scores: np.ndarray, order: np.ndarray) -> np.ndarray:
    found = np.empty_like(scores)
    found[order] = scores
    return found


def _differing(scores: np.ndarray, expected: np.ndarray) -> str:
    """How many scores have other bits, and by how much; '' if none has."""
    other = scores.view(np.uint32) != expected.view(np.uint32)
    if not other.any():
        return ""
    return f"{other.sum()} of {len(other)} by up to {np.abs(scores - expected).max():.2g}"
