"""Which pairs of a part are known, with their old scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reranker_core.errors import ReuseRefused
from reranker_core.input.pairs import Int32s, Pairs
from reranker_core.reuse.hashes import Hashes

_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, 2^64 divided by the golden ratio

Bools = npt.NDArray[np.bool_]
Float32s = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """The old scores of K of D hashes.

    Attributes:
        index: which of the hashes are known, ascending, shape (K,).
        scores: of each cutoff layer, in their order; the score of the output is last; shape (K, k).
        chunks, lost: sequences of each pair, and tokens that were cut; shape (K,); zeros if the old
            output does not have them.
        days: since 1970, when each score was computed, shape (K,).

    """

    index: npt.NDArray[np.int64]
    scores: Float32s
    chunks: Int32s
    lost: Int32s
    days: Int32s

    def only(self, chosen: Bools) -> Found:
        """Those of the K that are chosen."""
        return Found(
            self.index[chosen],
            self.scores[chosen],
            self.chunks[chosen],
            self.lost[chosen],
            self.days[chosen],
        )


Find = Callable[[Hashes], Found]


@dataclass(frozen=True)
class Known:
    """The old scores of a part.

    Attributes:
        of: index into the scores of each of the part's pairs, -1 for a new pair, shape (P,).
        scores, chunks, lost: as `Found` has them, shapes (K, k), (K,), (K,).
        oldest: the earliest day of a score.
        checked: how many of the K are scored again, to be compared.
        tolerance: largest difference of a score that is computed again.

    """

    of: Int32s
    scores: Float32s
    chunks: Int32s
    lost: Int32s
    oldest: int
    checked: int
    tolerance: float

    @property
    def facts(self) -> dict[str, int]:
        """Number of distinct pairs with an old score, how many of them are scored again, and the
        first day of a score; empty if there is none.
        """
        if not len(self.scores):
            return {}
        return {"pairs": len(self.scores), "checked": self.checked, "oldest": self.oldest}

    @classmethod
    def of_part(cls, pairs: Pairs, found: Found, checked: int, tolerance: float) -> Known:
        """From what was found for the distinct pairs of a part."""
        number = np.full(len(pairs.query_of) + 1, -1, np.int32)  # the last is for pairs without one
        number[found.index] = np.arange(len(found.index))
        oldest = int(found.days.min(initial=np.iinfo(np.int32).max))
        of = number[pairs.distinct_of]
        return cls(of, found.scores, found.chunks, found.lost, oldest, checked, tolerance)

    @property
    def places(self) -> tuple[npt.NDArray[np.int64], Int32s]:
        """The pairs of the part that have an old score, and the index of each one's score."""
        pairs = np.flatnonzero(self.of >= 0)
        return pairs, self.of[pairs]

    def require_same(self, scores: Float32s, tried: Bools) -> None:
        """Compare scores that were computed again with the old ones.

        Args:
            scores: of all pairs of the part, by layer, NaN where there is none, shape (k, P).
            tried: which pairs were given to the model, shape (P,).

        Raises:
            ReuseRefused: a difference is above the tolerance.

        """
        both = np.flatnonzero(tried & (self.of >= 0))
        if not len(both):
            return
        old, new = self.scores[self.of[both]].T, scores[:, both]
        apart = np.abs(old - new)
        if (apart <= self.tolerance).all():  # NaN is not
            return
        worst_of_all = np.argmax(np.nan_to_num(apart, nan=np.inf))
        layer, worst = np.unravel_index(worst_of_all, apart.shape)
        before, now = float(old[layer, worst]), float(new[layer, worst])
        raise ReuseRefused(
            f"reuse.check: a pair was scored {before:.6g} in the earlier output and {now:.6g} now; "
            f"expected a difference of at most {self.tolerance:.3g}. No part with such a score was "
            "written. The software, the hardware or the earlier output has changed. Find out "
            "which, or leave out reuse.from to score all pairs again in another output.path"
        )

    def to_tables(self) -> tuple[pa.Table, pa.Table]:
        """As Arrow: a row per pair of the part, and a row per known pair."""
        facts = {"oldest": str(self.oldest), "checked": str(self.checked)}
        known = {str(layer): column for layer, column in enumerate(self.scores.T)}
        known |= {"chunks": self.chunks, "lost": self.lost}
        facts["tolerance"] = self.tolerance.hex()
        return pa.table({"of": self.of}), pa.table(known).replace_schema_metadata(facts)

    @classmethod
    def from_tables(cls, pairs: pa.Table, known: pa.Table) -> Known:
        """The inverse of `to_tables`."""
        facts = known.schema.metadata
        names = [name for name in known.column_names if name.isdecimal()]
        return cls(
            pairs.column("of").to_numpy(),
            np.stack([known.column(name).to_numpy() for name in names], axis=1),
            known.column("chunks").to_numpy(),
            known.column("lost").to_numpy(),
            int(facts[b"oldest"]),
            int(facts[b"checked"]),
            float.fromhex(facts[b"tolerance"].decode()),
        )


@dataclass(frozen=True)
class Reuse:
    """How old scores are used.

    Attributes:
        find: the scores of hashes.
        oldest: the first day, since 1970, whose scores are used.
        check: fraction of the known pairs to score again.
        tolerance: largest difference of their scores.
        seed: another one, below 2^64, gives other pairs to score again.

    """

    find: Find
    oldest: int
    check: float
    tolerance: float
    seed: int = 0

    def known(self, hashes: Hashes) -> tuple[Found, Bools]:
        """The old scores of the distinct pairs of a part, and which of them are scored again."""
        found = self.find(hashes)
        found = found.only(found.days >= self.oldest)
        return found, to_check(found, hashes, self.check, self.seed)


def to_check(found: Found, hashes: Hashes, share: float, seed: int) -> Bools:
    """Which of the known pairs are scored again: about this share of them, chosen by their hashes
    and the seed, and at least one of them; shape (K,).
    """
    chosen = (hashes[found.index, 1] ^ np.uint64(seed)) * _MIX
    chosen = (chosen ^ (chosen >> np.uint64(32))) * _MIX  # all bits decide, not only the highest
    if share >= 1:
        return np.ones(len(chosen), bool)
    below = chosen < np.uint64(int(share * 2**64))
    if share > 0 and len(chosen) and not below.any():
        below[np.argmin(chosen)] = True
    return below
