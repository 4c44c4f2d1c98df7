"""One replica without Ray: pairs become scores.

scorer = load_scorer(config)  # reranker_core/score/loading.py
scorer.score_pairs([("how to cache", "lru_cache keeps the results of …")])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from reranker_core.checks import Report
from reranker_core.device import torch_threads
from reranker_core.encode.formats.pair_format import PairFormat
from reranker_core.encode.passages import combine
from reranker_core.encode.sequences import Int64s, TokenSequences
from reranker_core.models.scores import Scores
from reranker_core.preflight.canaries import Pair
from reranker_core.score.engine import Engine
from reranker_core.score.exact import in_float32
from reranker_core.score.guard import FEW, require_few, rescue
from reranker_core.score.streams import turn


class Scorer:
    """A loaded reranker that has passed its preflight.

    Attributes:
        report: what preflight measured.
        pair_format: how a pair becomes ids.
        max_length, largest_batch, dtype, reproducible, packed: see `preflight.probe.Probe`.
        device: where the model is.

    """

    report: Report

    def __init__(self, engine: Engine, pair_format: PairFormat, dtype: str) -> None:
        self._engine = engine
        self.device = engine.device
        self.pair_format = pair_format
        self.dtype = dtype
        self.max_length = pair_format.max_length
        self.largest_batch = engine.shapes.rows(engine.shapes.width(self.max_length))
        self.reproducible, self.packed = engine.shapes.fixed, engine.shapes.packed
        self._threads = torch.get_num_threads()

    def encode(self, pairs: Sequence[Pair]) -> TokenSequences:
        """Ids of the pairs; a pair in several chunks has several sequences."""
        queries = {query: index for index, query in enumerate(dict.fromkeys(q for q, _ in pairs))}
        passages = {text: index for index, text in enumerate(dict.fromkeys(p for _, p in pairs))}
        query_of = np.array([queries[query] for query, _ in pairs], np.int64)
        passage_of = np.array([passages[passage] for _, passage in pairs], np.int64)
        return self.pair_format.encode(list(queries), list(passages), query_of, passage_of)

    def score(
        self, sequences: TokenSequences, threads: int | None = None, most: int | None = None
    ) -> Scores:
        """Scores of all sequences. Non-finite scores are computed again in float32.

        Calls from several threads run one after the other. `threads`: number of torch threads;
        None: as many as when loading. `most`: number of scores that are computed again at most.

        Raises:
            PreflightRefused: without `most`, too many scores are not finite.

        """
        with turn(), torch_threads(threads or self._threads):
            computed = self._engine.compute(sequences)
            if most is None:
                require_few(computed.values, self.dtype)
            scores = rescue(computed.values, partial(self._redo, sequences), most)
        return replace(scores, computed_tokens=computed.tokens)

    def score_warily(
        self,
        sequences: TokenSequences,
        fatal: Int64s,
        suspects: Int64s,
        before: Callable[[Int64s], None],
    ) -> Scores:
        """Like `score`, for a part that has ended a process. If a process ends again, the batch or
        sequence that caused it is known.

        `fatal` sequences are left out. `suspects` are computed one by one, after all others.
        `before` is called with the sequences of each forward, and must return before it starts.
        """
        others = np.setdiff1d(np.arange(len(sequences)), np.union1d(fatal, suspects))
        batches = [rows for rows, _ in self._engine.batches(sequences, others)]
        batches += [np.array([index]) for index in np.setdiff1d(suspects, fatal)]
        values = np.full(len(sequences), np.nan, np.float32)
        rescued = tokens = 0
        for rows in batches:
            before(rows)
            computed = self._engine.one_batch(sequences, rows)
            scores = rescue(computed.values, self._redo_of(sequences, rows))
            if scores.values.ndim > values.ndim:  # a sequence has k of them
                values = np.tile(values[:, None], scores.values.shape[1])
            values[rows] = scores.values
            rescued += scores.rescued
            tokens += computed.tokens
        return Scores(values, rescued, fatal, tokens)

    def on_batch(self, call: Callable[[], None]) -> None:
        """Call `call` after each forward."""
        self._engine.on_batch = call

    def score_pairs(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Float32 scores of (query, passage) texts, shape (n,); NaN if a score is not finite. With
        several cutoff layers: shape (n, layers).
        """
        return self._scored(pairs).values

    def score_texts(self, pairs: Sequence[Pair], threads: int | None = None) -> Scores:
        """Scores as in the run, in batches, with the guard; those of the last cutoff layer."""
        scores = self._scored(pairs, threads, most=FEW)
        return replace(scores, values=_last(scores.values))

    def alone(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Score each pair alone, without padding, in the number format of the run."""
        return self._one_by_one(pairs)

    def reference(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Score each pair alone, without padding, in float32."""
        with in_float32(self._engine.model):
            return self._one_by_one(pairs)

    def read_by(self, layer: torch.nn.Module, pairs: Sequence[Pair]) -> np.ndarray:
        """The input of a layer of the model for each pair alone, shape (n, width).

        If the layer reads all tokens, this is the input for the last token.
        """
        read: list[torch.Tensor] = []
        hook = layer.register_forward_pre_hook(
            lambda _, inputs: read.append(inputs[0].flatten(0, -2)[-1].float())
        )
        try:
            self.alone(pairs)
        finally:
            hook.remove()
        return torch.stack(read).cpu().numpy()

    def _one_by_one(self, pairs: Sequence[Pair]) -> np.ndarray:
        sequences = self.encode(pairs)
        scores = [self._engine.alone(sequences, row) for row in range(len(sequences))]
        return _last(self._by_pair(np.array(scores, np.float32), sequences))

    def _scored(
        self, pairs: Sequence[Pair], threads: int | None = None, most: int | None = None
    ) -> Scores:
        sequences = self.encode(pairs)
        scores = self.score(sequences, threads, most)
        return replace(scores, values=self._by_pair(scores.values, sequences))

    def _by_pair(self, values: np.ndarray, sequences: TokenSequences) -> np.ndarray:
        """The score, or the k scores, of each pair from those of its sequences."""
        return combine(values, sequences.chunks, self.pair_format.model)

    def _redo_of(
        self, sequences: TokenSequences, rows: Int64s
    ) -> Callable[[Int64s], Iterator[np.ndarray]]:
        return lambda some: self._redo(sequences, rows[some])

    def _redo(self, sequences: TokenSequences, rows: Int64s) -> Iterator[np.ndarray]:
        """The scores of these sequences in float32."""
        with in_float32(self._engine.model):
            for row in rows:
                yield self._engine.alone(sequences, int(row))
                self._engine.on_batch()  # on a CPU, one takes seconds


def _last(values: np.ndarray) -> np.ndarray:
    """The last of the k scores of each pair."""
    return values if values.ndim == 1 else values[:, -1]
