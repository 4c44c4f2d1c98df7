"""What every reranker family provides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from reranker_core.config import ModelConfig
from reranker_core.encode.formats.pair_format import PairFormat
from reranker_core.models.batch import Batch
from reranker_core.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class LoadedModel:
    """A model, and how its weights match those in the files.

    Attributes:
        model: a `torch.nn.Module`.
        missing: names of weights that no file has; transformers fills them with random numbers.
        unexpected: names in the files that the model does not use.
        mismatched: names whose shape differs between model and file.
        head: prefixes of the parameter names of the head, which turns a base model into a reranker.
        reentrant: whether several threads may call the forward at the same time.
        renamed: which names in the files were read under other names, in words; '' if none.
        ignored_code: whether config.json names code that was not run.
        untied: names of weights that have values of their own, though config.json says that they
            are tied to others.

    """

    model: Any
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    head: tuple[str, ...] = ()
    reentrant: bool = False
    renamed: str = ""
    ignored_code: bool = False
    untied: tuple[str, ...] = ()


class Family(Protocol):
    """The functions of a family; each family is a module of this package.

    Batches are always padded on the right, whatever the tokenizer's setting is. Then causal models
    need no mask, and positions count from the first token.

    A family of causal models may also have `read_prefixes(model, batch)`. It computes the sequences
    of a batch as common beginnings of other sequences, and returns `Prefix.states`, or None if the
    model does not support this.
    """

    def pair_format(self, checkpoint: Checkpoint, model: ModelConfig) -> PairFormat:
        """How a pair becomes ids. Reads the tokenizer and settings, not the weights."""

    def fits(self, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint's class and modules belong to the family."""

    def load(
        self, checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
    ) -> LoadedModel:
        """The model with its weights: the body in `dtype`, heads in float32, on `device`."""

    def forward(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Float32 scores (logits), shape (R,); or (R, k) if a pair has k scores.

        The last of k scores is the score of the pair. The others are additional output columns.
        """
