"""Long passages: how they are cut into chunks, and one score from the scores of the chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reranker_core.config import ModelConfig
from reranker_core.encode.sequences import Int64s, Runs, TokenSequences, concatenate, take


@dataclass(frozen=True)
class Prepared:
    """D pairs before their passages are cut.

    Attributes:
        before, passage, after: the ids before the passage, of the passage, and after it.
        room: maximum number of ids of the passage in one sequence, shape (D,).
        lost: number of tokens that were cut from the query, shape (D,).

    """

    before: Runs
    passage: Runs
    after: Runs
    room: Int64s
    lost: Int64s


def in_chunks(model: ModelConfig) -> bool:
    """Whether a long passage is scored in several sequences (`model.long_passage`)."""
    return model.long_passage in ("max", "mean_top_k")


def long_passages(model: ModelConfig) -> dict[str, Any]:
    """The settings of long passages, for the fingerprint; empty for the default."""
    if not in_chunks(model):
        return {}
    names = ["long_passage", "chunk_overlap", "max_chunks"]
    names += ["top_k"] if model.long_passage == "mean_top_k" else []
    return {name: getattr(model, name) for name in names}


def assemble(pairs: Prepared, model: ModelConfig, side: str) -> TokenSequences:
    """The sequences of all pairs: one per pair, or with chunks as many as its passage needs.

    Args:
        pairs: D pairs.
        model: the configuration: chunks, their overlap and maximum number.
        side: where a passage is cut without chunks: `left` or `right`.

    """
    count = len(pairs.room)
    room = np.maximum(pairs.room, 0)
    lengths = pairs.passage.lengths
    if not in_chunks(model):
        chunks = np.ones(count, np.int64)
        kept = np.minimum(lengths, room)
        source, starts = np.arange(count), np.zeros(count, np.int64)
        lost = lengths - kept
    else:
        # An overlap as long as a chunk would never end; half of one is the most there is.
        step = room - np.minimum(model.chunk_overlap, room // 2)
        beyond = np.maximum(lengths - room, 0)
        chunks = np.where(step > 0, 1 + -(-beyond // np.maximum(step, 1)), 1)
        chunks = np.minimum(chunks, model.max_chunks)
        source = np.repeat(np.arange(count), chunks)
        nth = np.arange(len(source)) - np.repeat(np.cumsum(chunks) - chunks, chunks)
        starts = nth * step[source]
        kept = np.minimum(lengths[source] - starts, room[source])
        lost = np.maximum(lengths - ((chunks - 1) * step + room), 0)
        side = "right"
    passages, index = pairs.passage.source, pairs.passage.index[source]
    pieces = Runs(pairs.before.source, pairs.before.index[source])
    behind = Runs(pairs.after.source, pairs.after.index[source])
    tokens = concatenate(
        [
            pieces.all(),
            take(passages, index, kept, side, starts),
            behind.all(),
        ],
        len(source),
    )
    return TokenSequences(
        tokens,
        pieces.lengths.astype(np.int32),
        chunks.astype(np.int32),
        (lost + pairs.lost).astype(np.int32),
    )


def combine(
    values: npt.NDArray[np.float32], chunks: npt.NDArray[np.int32], model: ModelConfig
) -> npt.NDArray[np.float32]:
    """One score per pair from the scores of its sequences, shape (S,) → (D,).

    `model.long_passage=max` takes the best score, `mean_top_k` the mean of the `model.top_k` best.
    If one of the scores is NaN, the result is NaN. If each sequence has k scores, (S, k) → (D, k):
    each of the k columns is combined separately.

    Args:
        values: scores, in the order of the sequences.
        chunks: number of sequences of each pair, shape (D,).
        model: the configuration.

    """
    if len(values) == len(chunks):
        return values
    if values.ndim > 1:
        return np.stack([combine(column, chunks, model) for column in values.T], axis=1)
    first = np.cumsum(chunks) - chunks
    pair = np.repeat(np.arange(len(chunks)), chunks)
    order = np.lexsort((-values, pair))  # NaN comes last
    best = 1 if model.long_passage == "max" else model.top_k
    used = np.minimum(chunks, best)
    nth = np.arange(len(values)) - first[pair]
    chosen = np.where(nth < used[pair], values[order].astype(np.float64), 0.0)
    means = np.bincount(pair, chosen, len(chunks)) / np.maximum(used, 1)
    means[np.bincount(pair, np.isnan(values), len(chunks)) > 0] = np.nan
    return means.astype(np.float32)
