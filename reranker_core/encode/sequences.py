"""Many token sequences of different lengths, without padding, in flat arrays."""

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
    """N sequences of token ids in one array, one after the other."""

    values: Int32s  # shape (sum of lengths,)
    lengths: Int64s  # shape (N,)

    @cached_property
    def starts(self) -> Int64s:
        """Index in `values` of the first id of each sequence, shape (N,)."""
        return np.cumsum(self.lengths) - self.lengths

    @classmethod
    def of(cls, runs: Sequence[Sequence[int]]) -> Ragged:
        """From N lists of ids."""
        lengths = np.fromiter(map(len, runs), np.int64, len(runs))
        values = np.fromiter(chain.from_iterable(runs), np.int32, int(lengths.sum()))
        return cls(values, lengths)


@dataclass(frozen=True)
class Runs:
    """One sequence of `source` for each of N pairs; pairs may share a sequence."""

    source: Ragged
    index: Int64s  # shape (N,)

    @property
    def lengths(self) -> Int64s:
        """Length of each pair's sequence, shape (N,)."""
        return self.source.lengths[self.index]

    @classmethod
    def same(cls, ids: Sequence[int], count: int) -> Runs:
        """The same ids for all of `count` pairs."""
        return cls(Ragged.of([ids]), np.zeros(count, np.int64))

    @classmethod
    def joined(cls, pieces: Sequence[Runs]) -> Runs:
        """The pieces of each pair, concatenated."""
        count = len(pieces[0].index)
        return cls(concatenate([piece.all() for piece in pieces], count), np.arange(count))

    def all(self) -> Ragged:
        """A copy of the sequence of each pair."""
        return take(self.source, self.index, self.lengths)


@dataclass(frozen=True)
class TokenSequences:
    """The model inputs of D distinct pairs, special tokens included, truncated, unpadded.

    Attributes:
        tokens: S sequences, in the order of the pairs; S >= D, because a pair may have several.
        passage_starts: index of the first token of the passage in each sequence, shape (S,).
        chunks: number of sequences of each pair, shape (D,).
        lost: number of tokens of each pair that are in no sequence, shape (D,). If a text was not
            tokenized to its end, only the tokens that are known are counted.

    """

    tokens: Ragged
    passage_starts: Int32s
    chunks: Int32s
    lost: Int32s

    def __len__(self) -> int:
        return len(self.tokens.lengths)

    @classmethod
    def one_each(cls, tokens: Ragged, passage_starts: Int32s) -> TokenSequences:
        """One sequence per pair, and no token lost."""
        ones = np.ones(len(tokens.lengths), np.int32)
        return cls(tokens, passage_starts, ones, np.zeros_like(ones))

    def to_table(self) -> pa.Table:
        """`tokens` and `passage_starts` as an Arrow table with S rows."""
        offsets = np.concatenate([[0], np.cumsum(self.tokens.lengths)])
        tokens = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(self.tokens.values))
        return pa.table({"tokens": tokens, "passage_start": self.passage_starts})

    def pairs_to_table(self) -> pa.Table:
        """`chunks` and `lost` as an Arrow table with D rows."""
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
    """Concatenate pieces: sequence i is piece 0 of i, then piece 1 of i, and so on.

    Args:
        pieces: each has `count` sequences, or is a list of ids that all sequences get.
        count: number of sequences.

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
    """For each i, `lengths[i]` ids of sequence `index[i]`, after skipping the first `skip[i]`.

    If `cut` is `left`, the last `lengths[i]` ids instead.
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
