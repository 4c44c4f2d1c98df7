"""The forward of many sequences, batch by batch, with smaller batches if memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from reranker_core.device import is_out_of_memory, one_attention, release_memory
from reranker_core.encode.sequences import Int64s, TokenSequences
from reranker_core.errors import Incomplete
from reranker_core.models.batch import Batch
from reranker_core.models.family import Family
from reranker_core.models.networks.padding import padding_known
from reranker_core.score.batching import Shapes, make_batch, plan_batches, tokens_of_prefix
from reranker_core.score.budget import Budget, Sharing
from reranker_core.score.prefixes import SharedPrefixes, shared_prefixes
from reranker_core.score.streams import side_by_side, threads_of
from reranker_core.score.work import Work

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Computed:
    """The result of the forward.

    Attributes:
        values: float32 scores, unchecked, shape (D,), or (D, k) where a pair has k scores.
        tokens: number of computed tokens, padding included.

    """

    values: npt.NDArray[np.float32]
    tokens: int


class Engine:
    """Runs a model on batches, on smaller ones when memory runs out.

    Attributes:
        model: as loaded.
        compiled: the compiled model, for batches of several sequences in a stream, or None.
        device: the device of the model.
        streams: number of batches that are computed at the same time.
        shapes: the allowed shapes of batches.
        on_batch: called after each forward.

    """

    # `streams` batches are computed at once, which the model must be able to do.
    def __init__(
        self,
        model: torch.nn.Module,
        family: Family,
        pad_id: int,
        shapes: Shapes,
        share_prefixes: bool = True,
        streams: int = 1,
    ) -> None:
        self.model = model.eval()
        self.compiled: Any = None
        # Others, and batches of one row, would be compiled once more, in the middle of a run.
        self.compiled_threads = set(threads_of(torch.get_num_threads(), streams))
        self.device = next(model.parameters()).device
        self.shapes = shapes
        self._family = family
        self._pad_id = pad_id
        self.streams = streams
        self._budget = Budget(shapes, self.device)
        self._sharing = Sharing()
        # What a sequence is computed in depends on its length only, where shapes are fixed.
        self._read = getattr(family, "read_prefixes", None)
        if not share_prefixes or shapes.fixed:
            self._read = None
        self.on_batch: Callable[[], None] = lambda: None

    @torch.inference_mode()
    def compute(self, sequences: TokenSequences) -> Computed:
        """Compute all sequences, in batches.

        Raises:
            Incomplete: there is too little memory for a single sequence.

        """
        order, outputs, tokens = [], [], 0
        for work in self._works(sequences):
            prefix = int(work.lengths.max(initial=0))
            tokens += int(work.lengths.sum()) if self.shapes.packed else len(work.lengths) * prefix
            batches = self.batches(work.sequences, work.rows, prefix)
            compute = partial(self._computed, work)
            for rows, width, output in side_by_side(compute, batches, self.streams):
                order.append(rows)
                outputs.append(output)
                tokens += self._tokens(work.sequences, rows, width)
        if not outputs:
            return Computed(np.zeros(0, np.float32), 0)
        # One transfer for all batches, so that a GPU is not waited for after each.
        found = torch.cat(outputs).cpu().numpy()
        values = np.empty_like(found)
        values[np.concatenate(order)] = found
        return Computed(values, tokens)

    def _works(self, sequences: TokenSequences) -> Iterator[Work]:
        """The work for all sequences; sequences with the same prefixes are together."""
        share = self._sharing.next_part() and self._read
        shared = shared_prefixes(sequences) if share else None
        if shared is None:
            yield Work(sequences)
            return
        yield Work(sequences, shared.alone)
        for chosen, rows in shared.groups(self.shapes):
            yield self._following(shared, chosen, rows) or Work(sequences, rows)

    def _following(self, shared: SharedPrefixes, chosen: Int64s, rows: Int64s) -> Work | None:
        """Compute the chosen prefixes, and return the work that follows; None if that fails."""
        if self._sharing.paused:
            return None
        lengths = shared.prefixes.tokens.lengths[chosen]
        width = self.shapes.width(int(lengths.max()))
        batch = self._batch(Work(shared.prefixes), chosen, width)
        states, fits = None, True
        try:
            with padding_known(batch.padded):
                states = self._read(self.model, batch) if self._read else None
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            fits = False
        if not fits:  # not in the handler: there, the traceback holds the tensors
            self._prefixes_do_not_fit(self._tokens(shared.prefixes, chosen, width), len(chosen))
            return None
        if states is None:  # the model cannot read prefixes
            self._read = None
            return None
        self._sharing.fitted()
        number = np.empty(len(shared.prefixes), np.int64)
        number[chosen] = np.arange(len(chosen))
        of = np.where(shared.of < 0, 0, number[shared.of])
        return Work(shared.rests, rows, states, of, lengths)

    def _prefixes_do_not_fit(self, tokens: int, prefixes: int) -> None:
        """There was too little memory to read so many prefixes, which have so many tokens."""
        release_memory(self.device)
        log.warning(
            "%s has too little memory to share prefixes; these sequences are computed completely",
            self.device,
        )
        if prefixes > 1:
            self._budget.lower(tokens)
        self._sharing.failed()

    def batches(
        self, sequences: TokenSequences, chosen: Int64s | None = None, prefix: int = 0
    ) -> Iterator[tuple[Int64s, int]]:
        """Rows and width of each batch of the chosen sequences, or of all, that go on from prefixes
        of at most `prefix` tokens.
        """
        if chosen is None:
            yield from plan_batches(sequences.tokens.lengths, self.shapes, prefix)
            return
        for rows, width in plan_batches(sequences.tokens.lengths[chosen], self.shapes, prefix):
            yield chosen[rows], width

    @torch.inference_mode()
    def one_batch(self, sequences: TokenSequences, rows: Int64s) -> Computed:
        """Compute the scores of these rows as one batch, and wait for them.

        Raises:
            Incomplete: there is too little memory for a single sequence.

        """
        width = self.shapes.width(int(sequences.tokens.lengths[rows].max()))
        tokens = self._tokens(sequences, rows, width)
        return Computed(self._split(Work(sequences), rows, width).cpu().numpy(), tokens)

    @torch.inference_mode()
    def alone(self, sequences: TokenSequences, row: int) -> npt.NDArray[np.float32]:
        """The score, or the k scores, of one sequence alone, without padding.

        Raises:
            Incomplete: there is too little memory.

        """
        width = int(sequences.tokens.lengths[row])
        batch = make_batch(sequences, np.array([row]), width, self._pad_id, self.device)
        try:
            found: npt.NDArray[np.float32] = self._run(self.model, batch)[0].cpu().numpy()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise Incomplete(self._too_large(width)) from error
        return found

    def _computed(self, work: Work, batch: tuple[Int64s, int]) -> tuple[Int64s, int, torch.Tensor]:
        return (*batch, self._split(work, *batch))

    @torch.inference_mode()  # of the thread that it is called in
    def _split(self, work: Work, rows: Int64s, width: int) -> torch.Tensor:
        """The forward; a batch that needs too much memory is split."""
        outputs: list[torch.Tensor] = []
        begin, count = 0, len(rows)
        while begin < len(rows):
            piece = rows[begin : begin + count]
            try:
                outputs.append(self._forward(work, piece, width))
                begin += len(piece)
                self._budget.batch_fitted()
                self.on_batch()
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                tokens = self._tokens(work.sequences, piece, width)
                if len(piece) == 1 or self.shapes.fixed:
                    raise Incomplete(self._too_large(tokens)) from error
            # Not in the handler: there, the traceback holds the tensors of the failed forward.
            release_memory(self.device)
            # As batches are planned.
            beside = tokens_of_prefix(int(work.lengths.max(initial=0)))
            self._budget.lower(tokens + len(piece) * beside)
            count = len(piece) // 2
        return torch.cat(outputs)

    def _forward(self, work: Work, rows: Int64s, width: int) -> torch.Tensor:
        # Where shapes are fixed, the batch is filled up with repetitions.
        filled = np.resize(rows, self._height(rows, width))
        batch = self._batch(work, filled, width)
        alike = len(filled) > 1 and torch.get_num_threads() in self.compiled_threads
        model = self.compiled if alike and self.compiled is not None else self.model
        return self._run(model, batch)[: len(rows)]

    def _batch(self, work: Work, rows: Int64s, width: int) -> Batch:
        if self.shapes.packed:
            return work.packed(rows, self.device, self._tokens(work.sequences, rows, width))
        return work.padded(rows, width, self._pad_id, self.device)

    def _run(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """The forward, which does not wait for the device. Where shapes are fixed, a batch always
        has a mask, so that the kernel of attention does not depend on the company of a sequence.
        """
        with padding_known(batch.padded or self.shapes.fixed), one_attention(self.shapes.fixed):
            return self._family.forward(model, batch)

    def _height(self, rows: Int64s, width: int) -> int:
        return self.shapes.rows(width) if self.shapes.fixed else len(rows)

    def _tokens(self, sequences: TokenSequences, rows: Int64s, width: int) -> int:
        """Number of tokens that a batch computes, padding included."""
        return self.shapes.computed(sequences.tokens.lengths[rows], width)

    def _too_large(self, tokens: int) -> str:
        remedy = (
            "With score.reproducible=true batches are not split, because that changes scores. "
            "Lower score.max_batch_tokens"
            if self.shapes.fixed
            else "Lower model.max_length"
        )
        return (
            f"{self.device} has too little memory for a batch of {tokens} tokens. {remedy}, or use "
            "a device with more free memory. Finished parts are kept"
        )
