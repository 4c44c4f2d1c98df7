"""Scores of many pairs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Scores:
    """Scores of D distinct pairs.

    Attributes:
        values: float32 logits, shape (D,); NaN if the score is not finite even in float32. For
            models that give each pair k scores: shape (D, k); all k are NaN if one is not finite.
        rescued: number of pairs whose score was not finite at first, but finite in float32.
        fatal: indices of the pairs that were not computed, because they end the process.
        computed_tokens: number of tokens in all batches, padding included.

    """

    values: npt.NDArray[np.float32]
    rescued: int
    fatal: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    computed_tokens: int = 0
