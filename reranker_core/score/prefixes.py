"""Common beginnings of sequences: the candidates of a query share the text before the passage.

A causal language model computes such a beginning once, and continues from it for each candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reranker_core.encode.sequences import Int64s, Ragged, TokenSequences, take
from reranker_core.models.batch import LONGEST_WITH_PREFIX
from reranker_core.score.batching import Shapes

_WORTH = 0.1  # of all tokens saved; below, the mask costs what the prefixes save


@dataclass(frozen=True)
class SharedPrefixes:
    """Beginnings that several of S sequences share, and the rest of each sequence.

    Attributes:
        prefixes: the N distinct beginnings.
        of: the index of each sequence's prefix, -1 without one, shape (S,).
        rests: the S sequences without their prefixes; not used for sequences without one.

    """

    prefixes: TokenSequences
    of: Int64s
    rests: TokenSequences

    @property
    def alone(self) -> Int64s:
        """Indices of the sequences without a shared prefix."""
        return np.flatnonzero(self.of < 0)

    def groups(self, shapes: Shapes) -> Iterator[tuple[Int64s, Int64s]]:
        """Groups of prefixes of similar lengths that fit a batch, each with its sequences."""
        lengths = self.prefixes.tokens.lengths
        longest_first = np.argsort(-lengths, kind="stable")
        by_prefix = np.argsort(self.of, kind="stable")
        sorted_of = self.of[by_prefix]
        begin = 0
        while begin < len(longest_first):
            count = shapes.rows(shapes.width(int(lengths[longest_first[begin]])))
            chosen = longest_first[begin : begin + count]
            first, last = (np.searchsorted(sorted_of, chosen, side) for side in ("left", "right"))
            rows = [by_prefix[a:b] for a, b in zip(first, last, strict=True)]
            yield chosen, np.concatenate(rows)
            begin += count


def shared_prefixes(sequences: TokenSequences) -> SharedPrefixes | None:
    """The shared prefixes of `sequences`, or None if they would save too little."""
    tokens = sequences.tokens
    # What follows has one token at least: scores are read behind the last.
    sizes = np.minimum(sequences.passage_starts, tokens.lengths - 1).astype(np.int64)
    candidates = np.flatnonzero((sizes > 0) & (tokens.lengths <= LONGEST_WITH_PREFIX))
    numbers: dict[bytes, int] = {}
    of = np.full(len(sequences), -1, np.int64)
    for row in candidates:
        begin = tokens.starts[row]
        prefix = tokens.values[begin : begin + sizes[row]].tobytes()
        of[row] = numbers.setdefault(prefix, len(numbers))
    common = np.bincount(of[candidates], minlength=len(numbers)) > 1
    of[candidates] = np.where(common[of[candidates]], of[candidates], -1)
    sharing = np.flatnonzero(of >= 0)
    _, first, of[sharing] = np.unique(of[sharing], return_index=True, return_inverse=True)
    first = sharing[first]
    saved = sizes[sharing].sum() - sizes[first].sum()
    if saved <= _WORTH * tokens.lengths.sum():
        return None
    prefixes = take(tokens, first, sizes[first])
    skipped = np.where(of < 0, 0, sizes)
    rests = take(tokens, np.arange(len(of)), tokens.lengths - skipped, skip=skipped)
    return SharedPrefixes(_bare(prefixes), of, _bare(rests))


def _bare(tokens: Ragged) -> TokenSequences:
    return TokenSequences.one_each(tokens, np.zeros(len(tokens.lengths), np.int32))
