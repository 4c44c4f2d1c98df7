"""The forward of many sequences: batch by batch, and what to do when memory runs out."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from reranker_core.batching import Shapes, make_batch, plan_batches
from reranker_core.device import is_out_of_memory, release_memory
from reranker_core.errors import Incomplete
from reranker_core.models import Family
from reranker_core.sequences import Int64s, TokenSequences

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Computed:
    """What the forward gave.

    Attributes:
        values: float32 scores, not looked at yet, shape (D,), or (D, k) where a pair has k.
        tokens: that were computed, padding included.

    """

    values: npt.NDArray[np.float32]
    tokens: int


class Engine:
    """Runs a model on batches. Its budget of tokens shrinks when memory runs out.

    Attributes:
        model: as loaded.
        shapes: what batches may look like.
        on_batch: called after each forward.

    """

    def __init__(self, model: torch.nn.Module, family: Family, pad_id: int, shapes: Shapes) -> None:
        self.model = model.eval()
        self.shapes = shapes
        self._family = family
        self._pad_id = pad_id
        self._device = next(model.parameters()).device
        self.on_batch: Callable[[], None] = lambda: None

    @torch.inference_mode()
    def compute(self, sequences: TokenSequences) -> Computed:
        """All sequences, in batches.

        Raises:
            Incomplete: memory does not suffice for a single sequence.

        """
        order, outputs, tokens = [], [], 0
        for rows, width in self.batches(sequences):
            order.append(rows)
            outputs.append(self._split(sequences, rows, width))
            tokens += self._height(rows, width) * width
        if not outputs:
            return Computed(np.zeros(0, np.float32), 0)
        # One transfer for all batches, so that a GPU is not waited for after each.
        found = torch.cat(outputs).cpu().numpy()
        values = np.empty_like(found)
        values[np.concatenate(order)] = found
        return Computed(values, tokens)

    def batches(
        self, sequences: TokenSequences, chosen: Int64s | None = None
    ) -> Iterator[tuple[Int64s, int]]:
        """Rows and width of each batch of the chosen sequences, or of all."""
        if chosen is None:
            yield from plan_batches(sequences.tokens.lengths, self.shapes)
            return
        for rows, width in plan_batches(sequences.tokens.lengths[chosen], self.shapes):
            yield chosen[rows], width

    @torch.inference_mode()
    def one_batch(self, sequences: TokenSequences, rows: Int64s) -> Computed:
        """Scores of these rows as one batch, waited for.

        Raises:
            Incomplete: memory does not suffice for a single sequence.

        """
        width = self.shapes.width(int(sequences.tokens.lengths[rows].max()))
        tokens = self._height(rows, width) * width
        return Computed(self._split(sequences, rows, width).cpu().numpy(), tokens)

    @torch.inference_mode()
    def plain(
        self, model: torch.nn.Module, sequences: TokenSequences, row: int
    ) -> npt.NDArray[np.float32]:
        """The score of one sequence by itself, unpadded, by another copy of the model; or its k."""
        width = int(sequences.tokens.lengths[row])
        device = next(model.parameters()).device
        batch = make_batch(sequences, np.array([row]), width, self._pad_id, device)
        found: npt.NDArray[np.float32] = self._family.forward(model, batch)[0].cpu().numpy()
        return found

    def _split(self, sequences: TokenSequences, rows: Int64s, width: int) -> torch.Tensor:
        """The forward, in smaller pieces where memory does not suffice."""
        outputs: list[torch.Tensor] = []
        begin, count = 0, len(rows)
        while begin < len(rows):
            piece = rows[begin : begin + count]
            try:
                outputs.append(self._forward(sequences, piece, width))
                begin += len(piece)
                self.on_batch()
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                tokens = self._height(piece, width) * width
                if len(piece) == 1 or self.shapes.fixed:
                    raise Incomplete(self._too_large(tokens)) from error
            # Not in the handler: there, the traceback holds the tensors of the failed forward.
            release_memory(self._device)
            self._lower(tokens)
            count = len(piece) // 2
        return torch.cat(outputs)

    def _lower(self, tokens: int) -> None:
        self.shapes.max_tokens = min(self.shapes.max_tokens, tokens // 2)
        log.warning(
            "memory of %s did not suffice for a batch of %d tokens; batches now have at most %d. "
            "score.max_batch_tokens=%d spares later runs this",
            self._device,
            tokens,
            self.shapes.max_tokens,
            self.shapes.max_tokens,
        )

    def _forward(self, sequences: TokenSequences, rows: Int64s, width: int) -> torch.Tensor:
        # Where shapes are fixed, the batch is filled up with repetitions.
        filled = np.resize(rows, self._height(rows, width))
        batch = make_batch(sequences, filled, width, self._pad_id, self._device)
        return self._family.forward(self.model, batch)[: len(rows)]

    def _height(self, rows: Int64s, width: int) -> int:
        return self.shapes.rows(width) if self.shapes.fixed else len(rows)

    def _too_large(self, tokens: int) -> str:
        remedy = (
            "With score.reproducible=true batches are not split, for that changes scores; lower "
            "score.max_batch_tokens"
            if self.shapes.fixed
            else "Lower model.max_length"
        )
        return (
            f"memory of {self._device} does not suffice for a batch of {tokens} tokens. {remedy}, "
            "or use a device with more memory that nobody else uses. What is committed stays"
        )


def float32_copy(model: torch.nn.Module) -> torch.nn.Module:
    """The same weights, computed with in float32: what overflows is the arithmetic.

    It is on the CPU where the model's own device has no room for it beside the model.
    """
    weights = list(model.parameters())
    device = weights[0].device
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if sum(weight.numel() for weight in weights) * 4 > free / 2:
            device = torch.device("cpu")
    memo = {id(w): torch.nn.Parameter(w.detach().to(device), w.requires_grad) for w in weights}
    return copy.deepcopy(model, memo).to(device).float()
