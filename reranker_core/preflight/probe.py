"""What checks may ask of a loaded model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from reranker_core.models.scores import Scores
from reranker_core.preflight.canaries import Pair


class Probe(Protocol):
    """A loaded model, as the run will use it and as a yardstick for that.

    Attributes:
        max_length: most tokens of a pair.
        largest_batch: how many pairs of that length the run puts into one batch.
        dtype: the run's number format.
        reproducible: whether the run promises the same bits whatever a pair is batched with.

    """

    max_length: int
    largest_batch: int
    dtype: str
    reproducible: bool

    def score_texts(self, pairs: Sequence[Pair], threads: int | None = None) -> Scores:
        """As in the run: in batches, in the run's number format, guarded; with so many of a CPU's
        threads, or the run's.
        """

    def alone(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Each pair by itself, unpadded, in the run's number format."""

    def reference(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Each pair by itself, unpadded, in float32."""

    def read_by(self, layer: torch.nn.Module, pairs: Sequence[Pair]) -> np.ndarray:
        """What a layer of the model reads of each pair by itself, shape (n, width); the last token,
        where it reads all.
        """
