"""Canaries of a user's own domain, made from a sample of the user's own queries and passages.

A model that is known to be good says which passage of a query is relevant: the one with the
highest score. Irrelevant are the next ones whose scores are clearly lower. A person reads the file
before it is used. From then on, a model that is damaged, or another one, must rank in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reranker_core.errors import InputError
from reranker_core.preflight.canaries import Canary
from reranker_core.preflight.probe import Probe

QUERIES, PASSAGES = 60, 12  # that are scored; passages of each query
_IRRELEVANT = 4
_LEAST_CANARIES = 10
# Share of the range of all scores by which an irrelevant passage is below the relevant one. A
# sound copy of the model, rounded to 8 bits, keeps such an order.
_CLEARLY_LOWER = 0.1


def make_canaries(probe: Probe, sample: Sequence[tuple[str, Sequence[str]]]) -> list[Canary]:
    """Canaries of queries with candidates. A query with few candidates gets passages of the others.

    Raises:
        InputError: too few queries have a passage that is clearly above others.

    """
    candidates = [
        (query, _filled(texts, number, sample)) for number, (query, texts) in enumerate(sample)
    ]
    scores = probe.score_texts(
        [(query, text) for query, texts in candidates for text in texts]
    ).values
    gap = _CLEARLY_LOWER * float(np.ptp(scores)) if len(scores) else 0.0
    found: list[Canary] = []
    begin = 0
    for query, texts in candidates:
        own = scores[begin : begin + len(texts)]
        begin += len(texts)
        order = np.argsort(-own, kind="stable")
        lower = [texts[i] for i in order if own[i] < own[order[0]] - gap]
        if lower:
            found.append((query, [texts[order[0]]], lower[:_IRRELEVANT]))
    if len(found) < _LEAST_CANARIES:
        raise InputError(
            f"--canaries-from: {len(found)} of {len(sample)} queries in the sample have a passage "
            f"that the model ranks clearly above another one; expected at least {_LEAST_CANARIES}. "
            "Name an input with more queries"
        )
    return found


def write_canaries(found: Sequence[Canary], path: str) -> None:
    """Write canaries as the JSON Lines that `preflight.canaries` reads."""
    lines = [
        json.dumps({"query": query, "relevant": good, "irrelevant": bad}, ensure_ascii=False)
        for query, good, bad in found
    ]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _filled(
    texts: Sequence[str], number: int, sample: Sequence[tuple[str, Sequence[str]]]
) -> list[str]:
    """The candidates of a query, then passages of the queries that follow it."""
    following = [
        other for _, others in (*sample[number + 1 :], *sample[:number]) for other in others[:1]
    ]
    return list(dict.fromkeys([*texts, *following]))[:PASSAGES]
