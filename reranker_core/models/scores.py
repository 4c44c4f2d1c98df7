"""What a model gives for many pairs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Scores:
    """Scores of D distinct pairs.

    Attributes:
        values: float32, shape (D,); NaN exactly where no finite score could be had. Of models that
            give each pair k scores: shape (D, k), and NaN for all of them where one is not finite.
        rescued: how many were not finite at first, and finite in float32.
        fatal: those that were not computed, because computing them ended the process.
        computed_tokens: tokens that were run through the model, padding included.

    """

    values: npt.NDArray[np.float32]
    rescued: int
    fatal: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    computed_tokens: int = 0
