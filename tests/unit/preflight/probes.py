"""A model whose scores a test chooses, and the results of its checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from reranker_core.config import PreflightConfig
from reranker_core.models.scores import Scores
from reranker_core.preflight.canaries import (
    LANGUAGES,
    TECHNICAL,
    Pair,
    hard_canaries,
)
from reranker_core.preflight.meaning import check_meaning
from reranker_core.preflight.numerics import check_numerics


class Model:
    """Stands for a loaded model: `rank` maps pairs to scores."""

    max_length, largest_batch, dtype, reproducible, packed = 64, 4, "float32", False, False

    def __init__(
        self, rank: Callable[[Sequence[Pair]], np.ndarray], alone: Any = None, exact: Any = None
    ) -> None:
        self._rank, self._alone, self._exact = rank, alone or rank, exact or rank

    def score_texts(self, pairs: Sequence[Pair], threads: int | None = None) -> Scores:
        return Scores(self._rank(pairs), rescued=0)

    def alone(self, pairs: Sequence[Pair]) -> np.ndarray:
        return self._alone(pairs)

    def reference(self, pairs: Sequence[Pair]) -> np.ndarray:
        return self._exact(pairs)


def canaries(model: Any, **settings: Any) -> dict[str, bool]:
    model = model if isinstance(model, Model) else Model(model)
    numerics, english = check_numerics(model)
    meaning, _ = check_meaning(model, english, PreflightConfig(**settings))
    return {check.name: check.passed for check in (*numerics, *meaning)}


def knows(kind: str) -> set[Pair]:
    return {(query, text) for query, relevant, _ in hard_canaries(kind) for text in relevant}


def right(pairs: Sequence[Pair]) -> np.ndarray:
    own = {pair for pairs in LANGUAGES.values() for pair in pairs} | knows(TECHNICAL)
    own |= {pair for name in LANGUAGES if name != "en" for pair in knows(name)}
    return np.array([float(pair in own) for pair in pairs], np.float32)
