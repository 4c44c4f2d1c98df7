"""Checks that scores mean relevance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reranker_core.checks import Check
from reranker_core.config import PreflightConfig
from reranker_core.models.scores import Scores
from reranker_core.preflight.canaries import (
    LANGUAGES,
    grid,
    pairs_of,
    read_canaries,
)
from reranker_core.preflight.hard_comparisons import check_hard, comparisons
from reranker_core.preflight.numerics import LEAST_SPAN
from reranker_core.preflight.probe import Probe, score_groups

# Share of (query, own passage, other passage) triples in the right order; chance gives 0.5.
RIGHT_ORDER = 0.8
_INVERTED = 0.2
# The demo's model has 8; trained rerankers tell such passages apart by many deviations.
CLEAR = 2.0


def check_meaning(
    probe: Probe, english: Scores, config: PreflightConfig
) -> tuple[list[Check], np.ndarray]:
    """Not constant, and relevant above irrelevant in the languages that are asked for.

    `english` are the scores of `grid(ENGLISH)`. Other languages are measured and reported. Also
    returns the scores of the user's own canaries, shape (pairs,).
    """
    own = read_canaries(config.canaries) if config.canaries else []
    others = {name: grid(pairs) for name, pairs in LANGUAGES.items() if name != "en"}
    *of_others, of_own = score_groups(probe, [*others.values(), pairs_of(own)])
    grids = {"en": english.values, **dict(zip(others, of_others, strict=True))}
    span, largest = float(np.ptp(english.values)), float(np.abs(english.values).max())
    found = [
        Check(
            "meaning",
            "not_constant",
            span > LEAST_SPAN * largest,
            f"canary scores span {span:.3g}, with {len(np.unique(english.values))} different "
            f"values among {len(english.values)}",
            f"different scores for different pairs, with a span of more than {LEAST_SPAN:g} of "
            "their magnitude",
            "The model ignores its input. The training collapsed, or the head is not the "
            "trained one. Use another checkpoint of the training.",
        ),
        _check_order(grids, config.languages),
        _check_margin(grids, config.languages),
    ]
    if config.checks.meaning != "off":
        found += check_hard(probe, config.languages)
    if own:
        found.append(_check_own(comparisons(own, of_own), str(config.canaries)))
    return found, of_own


def in_order(scores: np.ndarray) -> float:
    """Share of comparisons between a query's own passage and the others that it wins.

    `scores` is that of a `grid` of n pairs, shape (n * n,).
    """
    own, others = _own_and_others(scores)
    return float((own[:, None] > others).mean())


def margin(scores: np.ndarray) -> float:
    """How far a query's own passage stands above the others, on average, in standard deviations of
    the others; shapes as for `in_order`.
    """
    own, others = _own_and_others(scores)
    average = others.mean(1)
    deviation = float((others - average[:, None]).std())
    above = float((own - average).mean())
    if deviation:
        return above / deviation
    return float("inf") if above > 0 else 0.0


def _own_and_others(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a grid of n pairs: own scores, shape (n,), and those of the others, shape (n, n - 1)."""
    size = int(len(scores) ** 0.5)
    matrix = scores.reshape(size, size)
    return np.diag(matrix), matrix[~np.eye(size, dtype=bool)].reshape(size, size - 1)


def _check_margin(grids: dict[str, np.ndarray], languages: Sequence[str]) -> Check:
    asked = {name: margin(grids[name]) for name in languages}
    return Check(
        "meaning",
        "relevant_clearly_above",
        min(asked.values()) >= CLEAR,
        "relevant above irrelevant, in standard deviations: "
        + ", ".join(f"{name} {value:.1f}" for name, value in asked.items()),
        f"at least {CLEAR:g} in {', '.join(asked)}",
        "The model hardly separates relevant from irrelevant passages. The training was stopped "
        "too early, the weights and the vocabulary belong to different models, or the prompt is "
        "not the one used in training.",
    )


def _check_order(grids: dict[str, np.ndarray], languages: Sequence[str]) -> Check:
    shares = {name: in_order(scores) for name, scores in grids.items()}
    asked = {name: shares[name] for name in languages}
    worst = min(asked.values())
    others = [f"{name} {share:.0%}" for name, share in shares.items() if name not in asked]
    return Check(
        "meaning",
        "relevant_above_irrelevant",
        worst >= RIGHT_ORDER,
        "comparisons in the right order: "
        + ", ".join(f"{n} {s:.0%}" for n, s in asked.items())
        + (f"; not required: {', '.join(others)}" if others else ""),
        f"at least {RIGHT_ORDER:.0%} in {', '.join(asked)} (preflight.languages); a random model "
        "has about 50%",
        "These scores are inverted: a high score means irrelevant. The sign of the head or the "
        "order of its labels is wrong."
        if worst <= _INVERTED
        else "This model does not rank. If it was trained for other languages, set "
        "preflight.languages to them. If it was trained for a special domain, provide your "
        "own canaries (preflight.canaries) and set preflight.checks.meaning=warn.",
        notable=True,
    )


def _check_own(won: tuple[int, int], path: str) -> Check:
    right, total = won
    return Check(
        "meaning",
        "own_canaries",
        right / total >= RIGHT_ORDER,
        f"{right / total:.0%} of {total} comparisons in the right order",
        f"at least {RIGHT_ORDER:.0%} of the comparisons in {path}",
        "The model does not rank your own canaries correctly. Use another model, or check the "
        "canaries.",
        notable=True,
    )
