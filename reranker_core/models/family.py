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
    """A model, and how its weights matched the checkpoint's.

    `missing` are drawn at random by transformers; `unexpected` are in the file and not used;
    `mismatched` have another shape. `head` are the prefixes of the parameters that training adds
    to a base model to make it a reranker. `reentrant`: forwards may run side by side. `renamed`
    says which names of the file were read as others, or is empty. `ignored_code`: config.json names
    code that was not run.
    """

    model: Any
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    head: tuple[str, ...] = ()
    reentrant: bool = False
    renamed: str = ""
    ignored_code: bool = False


class Family(Protocol):
    """A module of this package.

    Whatever a tokenizer's own padding side is, batches are padded on the right: causal models
    then need no mask, and positions count from the first token.

    A family of causal models may also have `read_prefixes(model, batch)`, which gives what the
    forward of sequences that begin like those of the batch goes on from (`Prefix.states`), or None.
    """

    def pair_format(self, checkpoint: Checkpoint, model: ModelConfig) -> PairFormat:
        """The pair format of a checkpoint. Needs no weights, so that encode tasks can call it."""

    def fits(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint, by its class and its modules, belongs to the family."""

    def load(
        self, checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
    ) -> LoadedModel:
        """The model with its weights."""

    def forward(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Float32 scores, shape (rows of the batch,), or (rows, k) where a pair has k of them.

        Of k scores the last is the one that counts; the others are columns beside it.
        """
