"""The keys of a part: hash and score of each distinct pair that has a score.

_keys/<part>.parquet    hash (16 bytes), score, layer_<n> for each lower cutoff layer, day on
which the score was computed; chunks and tokens_lost if the output has
these columns. A row per distinct pair, sorted by hash
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.input.pairs import Int64s, Pairs
from reranker_core.reuse.hashes import BYTES, Hashes, in_order, pair_hashes

FOLDER = "_keys"
HASH, SCORE, DAY = "hash", "score", "day"
CHUNKS, TOKENS_LOST = "chunks", "tokens_lost"
_LAYER = "layer_"
_NEW = -1
_SECONDS_OF_A_DAY = 86_400


@dataclass(frozen=True)
class PartKeys:
    """The D distinct pairs of a part.

    Attributes:
        hashes: of each, shape (D, 2).
        pair: the number of one of its pairs within the part, shape (D,).
        days: since 1970, when its score was computed; -1 for scores of this run, shape (D,).

    """

    hashes: Hashes
    pair: Int64s
    days: npt.NDArray[np.int32]

    @classmethod
    def of(cls, pairs: Pairs, hashes: Hashes | None = None) -> PartKeys:
        """The keys of a part whose scores are all computed in this run."""
        hashes = pair_hashes(pairs) if hashes is None else hashes
        known = np.flatnonzero(pairs.distinct_of >= 0)[::-1]
        pair = np.zeros(len(hashes), np.int64)
        pair[pairs.distinct_of[known]] = known  # the last one that is assigned is the first pair
        return cls(hashes, pair, np.full(len(hashes), _NEW, np.int32))

    def since(self, index: Int64s, days: npt.NDArray[np.int32]) -> PartKeys:
        """The same keys, where the scores of some of the pairs were computed on earlier days."""
        known = self.days.copy()
        known[index] = days
        return replace(self, days=known)

    def all_since(self, day: int) -> PartKeys:
        """The same keys, of which all scores were computed on this day."""
        return self.since(np.arange(len(self.days)), np.full(len(self.days), day, np.int32))

    def to_table(self) -> pa.Table:
        """As Arrow, a row per distinct pair."""
        return pa.table(
            {"hash": as_binary(self.hashes), "pair": self.pair, "day": pa.array(self.days)}
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> PartKeys:
        """The inverse of `to_table`."""
        pair, days = table.column("pair").to_numpy(), table.column("day").to_numpy()
        return cls(from_binary(table.column("hash")), pair, days)


def keys_name(part: str) -> str:
    """The name of a part's keys below the output."""
    return f"{FOLDER}/{part}.parquet"


def layer_column(layer: int) -> str:
    """The column with the scores of a lower cutoff layer."""
    return f"{_LAYER}{layer}"


def today() -> int:
    """Days since 1970, in UTC."""
    return day_of(time.time())


def day_of(seconds: float) -> int:
    """The day of a moment, in days since 1970, in UTC."""
    return int(seconds // _SECONDS_OF_A_DAY)


def key_table(
    keys: PartKeys,
    scored: npt.NDArray[np.bool_],
    columns: dict[str, npt.NDArray[np.float32] | npt.NDArray[np.int32]],
    day: int,
) -> pa.Table:
    """The rows of a part's keys, sorted by hash.

    Args:
        keys: of the part.
        scored: whether each of its pairs has a score, shape (P,).
        columns: score, scores of layers, and others of each of its pairs, each of shape (P,).
        day: of the scores that this run has computed.

    """
    chosen = np.flatnonzero(scored[keys.pair])
    chosen = chosen[in_order(keys.hashes[chosen])]
    pair, days = keys.pair[chosen], keys.days[chosen]
    day_of = pa.array(np.where(days == _NEW, np.int32(day), days).astype(np.int32))
    return pa.table(
        {
            HASH: as_binary(keys.hashes[chosen]),
            **{name: values[pair] for name, values in columns.items()},
            DAY: day_of.cast(pa.date32()),
        }
    )


def to_bytes(table: pa.Table) -> bytes:
    """The stored form of `key_table`."""
    buffer = io.BytesIO()
    repeated = [name for name in (CHUNKS, TOKENS_LOST, DAY) if name in table.column_names]
    # Hashes and scores have nothing that compression could remove.
    packed = {name: "zstd" if name in repeated else "none" for name in table.column_names}
    pq.write_table(
        table, buffer, compression=packed, use_dictionary=repeated, write_statistics=False
    )
    return buffer.getvalue()


def from_bytes(data: bytes) -> pa.Table:
    """The inverse of `to_bytes`.

    Raises:
        pyarrow.ArrowException, OSError: the data are no Parquet file.

    """
    return pq.read_table(io.BytesIO(data))


def as_binary(hashes: Hashes) -> pa.Array:
    """Hashes as fixed-size binary values."""
    data = pa.py_buffer(np.ascontiguousarray(hashes).astype(">u8").tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(BYTES), len(hashes), [None, data])


def from_binary(column: pa.ChunkedArray) -> Hashes:
    """The inverse of `as_binary`."""
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    found = np.frombuffer(array.buffers()[1], ">u8", 2 * len(array), array.offset * BYTES)
    return found.astype(np.uint64).reshape(-1, 2)
