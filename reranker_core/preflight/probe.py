"""The interface through which checks use a loaded model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from reranker_core.models.scores import Scores
from reranker_core.preflight.canaries import Pair


class Probe(Protocol):
    """A loaded model.

    Attributes:
        max_length: maximum number of tokens of a pair.
        largest_batch: number of pairs of this length in one batch of the run.
        dtype: number format of the run.
        reproducible: whether a pair must get the same bits in every batch.
        packed: whether batches have no padding.

    """

    max_length: int
    largest_batch: int
    dtype: str
    reproducible: bool
    packed: bool

    def score_texts(self, pairs: Sequence[Pair], threads: int | None = None) -> Scores:
        """Scores as in the run: in batches, in the number format of the run, with non-finite scores
        computed again. `threads`: CPU threads; None: as many as in the run.
        """

    def alone(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Scores of pairs that are computed one by one, without padding, in the number format of
        the run. Shape (n,).
        """

    def reference(self, pairs: Sequence[Pair]) -> np.ndarray:
        """As `alone`, in float32."""

    def read_by(self, layer: torch.nn.Module, pairs: Sequence[Pair]) -> np.ndarray:
        """Input of a layer of the model for each pair, computed one by one, shape (n, width). If
        the layer gets all tokens of a pair: that of the last token.
        """


def score_groups(probe: Probe, groups: Sequence[Sequence[Pair]]) -> list[np.ndarray]:
    """Scores of each group of pairs, which are computed together."""
    together = probe.score_texts([pair for group in groups for pair in group]).values
    return np.split(together, np.cumsum([len(group) for group in groups])[:-1])
