"""Many token sequences of different lengths, without padding, as three flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """N runs of token ids laid end to end."""

    values: Int32s  # shape (sum of lengths,)
    lengths: Int64s  # shape (N,)

    @cached_property
    def starts(self) -> Int64s:
        """Where each run begins in `values`, shape (N,)."""
        return np.cumsum(self.lengths) - self.lengths

    @classmethod
    def of(cls, runs: Sequence[Sequence[int]]) -> Ragged:
        """From lists of ids."""
        lengths = np.fromiter(map(len, runs), np.int64, len(runs))
        values = np.fromiter(chain.from_iterable(runs), np.int32, int(lengths.sum()))
        return cls(values, lengths)


@dataclass(frozen=True)
class Runs:
    """A run of `source` for each of N pairs; pairs may share runs."""

    source: Ragged
    index: Int64s  # shape (N,)

    @property
    def lengths(self) -> Int64s:
        """Length of each pair's run, shape (N,)."""
        return self.source.lengths[self.index]

    @classmethod
    def same(cls, ids: Sequence[int], count: int) -> Runs:
        """The same run for all of `count` pairs."""
        return cls(Ragged.of([ids]), np.zeros(count, np.int64))

    @classmethod
    def joined(cls, pieces: Sequence[Runs]) -> Runs:
        """The pieces of each pair, one behind the other."""
        count = len(pieces[0].index)
        return cls(concatenate([piece.all() for piece in pieces], count), np.arange(count))

    def all(self) -> Ragged:
        """A run of its own for each pair."""
        return take(self.source, self.index, self.lengths)


@dataclass(frozen=True)
class TokenSequences:
    """The model inputs of D distinct pairs, special tokens included, truncated, unpadded.

    Attributes:
        tokens: S sequences; a pair's stand together, in the order of the pairs.
        passage_starts: where a sequence's second segment begins, shape (S,).
        chunks: sequences of each pair, shape (D,).
        lost: tokens of each pair that are in none of them, shape (D,); of texts that were not
            tokenized to their end it counts what is known.

    """

    tokens: Ragged
    passage_starts: Int32s
    chunks: Int32s
    lost: Int32s

    def __len__(self) -> int:
        return len(self.tokens.lengths)

    @classmethod
    def one_each(cls, tokens: Ragged, passage_starts: Int32s) -> TokenSequences:
        """One sequence a pair, and nothing lost."""
        ones = np.ones(len(tokens.lengths), np.int32)
        return cls(tokens, passage_starts, ones, np.zeros_like(ones))

    def to_table(self) -> pa.Table:
        """As Arrow, a row a sequence."""
        offsets = np.concatenate([[0], np.cumsum(self.tokens.lengths)])
        tokens = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(self.tokens.values))
        return pa.table({"tokens": tokens, "passage_start": self.passage_starts})

    def pairs_to_table(self) -> pa.Table:
        """The rest as Arrow, a row a pair."""
        return pa.table({"chunks": self.chunks, "lost": self.lost})

    @classmethod
    def from_tables(cls, table: pa.Table, pairs: pa.Table) -> TokenSequences:
        """The inverse of `to_table` and `pairs_to_table`, without copying."""
        column = table.column("tokens")
        lists = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        offsets = lists.offsets.to_numpy()
        return cls(
            Ragged(lists.values.to_numpy()[offsets[0] : offsets[-1]], np.diff(offsets)),
            table.column("passage_start").to_numpy(),
            pairs.column("chunks").to_numpy(),
            pairs.column("lost").to_numpy(),
        )


def concatenate(pieces: Sequence[Ragged | Sequence[int]], count: int) -> Ragged:
    """Join pieces sequence by sequence: piece 0 of each, then piece 1 of each, …

    A plain list of ids is the same for all `count` sequences.
    """
    ragged = [
        piece
        if isinstance(piece, Ragged)
        else Ragged(np.tile(np.asarray(piece, np.int32), count), np.full(count, len(piece)))
        for piece in pieces
    ]
    lengths: Int64s = np.sum([piece.lengths for piece in ragged], axis=0, dtype=np.int64)
    values = np.empty(int(lengths.sum()), np.int32)
    begin: Int64s = np.cumsum(lengths) - lengths
    for piece in ragged:
        values[_positions(begin, piece.lengths)] = piece.values
        begin = begin + piece.lengths
    return Ragged(values, lengths)


def take(
    source: Ragged,
    index: Int64s,
    lengths: Int64s,
    cut: str = "right",
    skip: Int64s | int = 0,
) -> Ragged:
    """`lengths[i]` ids of run `index[i]`, for each i, behind the first `skip[i]`; the last ones if
    `cut` is left.
    """
    starts = source.starts[index] + skip
    if cut == "left":
        starts = starts + source.lengths[index] - lengths
    return Ragged(source.values[_positions(starts, lengths)], lengths)


def _positions(starts: Int64s, lengths: Int64s) -> Int64s:
    """The numbers starts[i], …, starts[i] + lengths[i] - 1, for each i, in one array."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)
