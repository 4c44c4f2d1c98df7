"""What every reranker family provides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from reranker_core.batching import Batch
from reranker_core.checkpoint import Checkpoint
from reranker_core.config import ModelConfig
from reranker_core.sequences import Int64s, TokenSequences


class PairFormat(Protocol):
    """Turns texts of pairs into the model's input ids."""

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer."""

    @property
    def max_length(self) -> int:
        """Most ids of a sequence, special tokens included."""

    @property
    def query_max_length(self) -> int:
        """Most ids of a query."""

    def encode(
        self, queries: list[str], passages: list[str], query_of: Int64s, passage_of: Int64s
    ) -> TokenSequences:
        """Ids of the pairs (queries[query_of[i]], passages[passage_of[i]])."""


@dataclass(frozen=True)
class LoadedModel:
    """A model, and how its weights matched the checkpoint's.

    `missing` are drawn at random by transformers; `unexpected` are in the file and not used;
    `mismatched` have another shape. `head` are the prefixes of the parameters that training adds
    to a base model to make it a reranker.
    """

    model: torch.nn.Module
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    head: tuple[str, ...] = ()


class Family(Protocol):
    """A module of this package."""

    def pair_format(self, checkpoint: Checkpoint, model: ModelConfig) -> PairFormat:
        """The pair format of a checkpoint. Needs no weights, so that encode tasks can call it."""

    def fits(self, architecture: str) -> bool:
        """Whether a checkpoint written by this class belongs to the family."""

    def load(
        self, checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
    ) -> LoadedModel:
        """The model with its weights."""

    def forward(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Float32 scores, shape (rows of the batch,)."""
