"""Checks of what a model computes, on a few pairs whose order everybody agrees on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from reranker_core.guard import Scores
from reranker_core.preflight.report import Check

CANARIES = (
    (
        "how do I read a csv file into a data frame",
        "read_csv reads a comma separated file and returns a DataFrame with a column for each "
        "field of the file. Compressed files and URLs can be read as well.",
    ),
    (
        "what is the capital of france",
        "Paris is the capital and largest city of France. It lies on the river Seine.",
    ),
    (
        "how long do you boil an egg",
        "To boil an egg, put it in boiling water: after six minutes the egg is soft, after ten "
        "minutes it is hard.",
    ),
    (
        "symptoms of the flu",
        "The flu begins suddenly. Symptoms are fever, a cough, a sore throat, headache and "
        "muscle pain.",
    ),
    (
        "sort a list of numbers in descending order",
        "Sorts the list in place. Pass reverse=True to sort the numbers in descending order; the "
        "sort is stable.",
    ),
)
# Share of (query, own passage, other passage) triples in the right order; chance gives 0.5.
_RIGHT_ORDER = 0.8
# Of the scores' span. CPU kernels may sum in another order when threads are scarce (5e-5 of a span
# of 10 was seen); dropout changes far more.
_NOISE = 5e-3


def check_scores(
    score: Callable[[Sequence[tuple[str, str]]], Scores], max_length: int
) -> list[Check]:
    """Run the canaries: finite, also at full length; not all equal; repeatable; in order.

    `score` maps (query, passage) texts to guarded scores. A canary that had to be rescued counts
    as not finite: in a run it would mean scoring most rows twice.
    """
    pairs = [(query, passage) for query, _ in CANARIES for _, passage in CANARIES]
    # Words enough that the pair is cut at max_length.
    long = [(CANARIES[0][0], " ".join([CANARIES[0][1]] * max(1, max_length // 8)))]
    passes = [score(pairs), score(pairs), score([*long, ("", "")])]
    first, again, extremes = (scores.values for scores in passes)
    bad = sum(scores.rescued + int(np.isnan(scores.values).sum()) for scores in passes[::2])
    matrix = first.reshape(len(CANARIES), len(CANARIES))
    spread = float(np.ptp(first))
    others = matrix[~np.eye(len(CANARIES), dtype=bool)].reshape(len(CANARIES), -1)
    in_order = float((np.diag(matrix)[:, None] > others).mean())
    return [
        _check(
            "numerics",
            "finite",
            not bad,
            f"{bad} of {len(first) + len(extremes)} canary scores are not finite",
            "finite scores, from the shortest pair to the longest",
            "Set model.dtype=bfloat16 or float32; if it is float32 already, the weights are bad.",
        ),
        _check(
            "numerics",
            "repeatable",
            not np.abs(first - again).max() > _NOISE * spread,  # NaN is for the check above
            f"two passes differ by up to {np.abs(first - again).max():.3g}",
            f"equal scores for equal input, within {_NOISE:.1%} of their span of {spread:.3g}",
            "Something in the model is random, such as dropout in custom code.",
        ),
        _check(
            "meaning",
            "not_constant",
            spread > 0,
            f"canary scores span {spread:.3g}",
            "different scores for different pairs",
            "The model ignores its input; training collapsed, or the head is not the trained one.",
        ),
        _check(
            "meaning",
            "relevant_above_irrelevant",
            in_order >= _RIGHT_ORDER,
            f"{in_order:.0%} of canary comparisons in the right order",
            f"at least {_RIGHT_ORDER:.0%}; a random model has 50%",
            "These weights do not rank. If the model is for a language or field where plain "
            "English canaries mean nothing, set preflight.checks.meaning=warn.",
        ),
    ]


def _check(group: str, name: str, passed: bool, measured: str, expected: str, remedy: str) -> Check:
    return Check(group, name, passed, measured, expected, "" if passed else remedy)
