"""What checks may ask of a loaded model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from reranker_core.guard import Scores
from reranker_core.preflight.canaries import Pair


class Probe(Protocol):
    """A loaded model, as the run will use it and as a yardstick for that.

    Attributes:
        max_length: most tokens of a pair.
        largest_batch: how many pairs of that length the run puts into one batch.
        dtype: the run's number format.

    """

    max_length: int
    largest_batch: int
    dtype: str

    def score_texts(self, pairs: Sequence[Pair]) -> Scores:
        """As in the run: in batches, in the run's number format, guarded."""

    def alone(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Each pair by itself, unpadded, in the run's number format."""

    def reference(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Each pair by itself, unpadded, in float32."""

    def read_by(self, layer: torch.nn.Module, pairs: Sequence[Pair]) -> np.ndarray:
        """What a layer of the model reads of each pair by itself, shape (n, width); the last token,
        where it reads all.
        """
