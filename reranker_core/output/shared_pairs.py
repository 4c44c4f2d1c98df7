"""Pairs that several parts of a run have (`reuse.within`), as an input of their own.

    _within/hashes/<part>.parquet   the hashes of the distinct pairs of a part
    _within/owned/<part>.parquet    those of them that other parts have, too, and that it gives away
    _within/pairs/<part>.parquet    the texts of these: shards
    _within/_ready                  written when all shards are there: number of their pairs
    _within/scores/                 an output of these shards, whose scores the run uses again

Of the parts with the same pair, one gives it away, which depends on their names alone. So whatever
is written twice is the same. The folder is removed when all parts of the run are committed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.errors import Incomplete
from reranker_core.input.columns import typed
from reranker_core.input.pairs import Pairs, find_pairs
from reranker_core.input.schema import InputSchema
from reranker_core.output.lease import FOLDER as LEASES
from reranker_core.reuse.hashes import Hashes, pair_hashes
from reranker_core.storage.database import database
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store

FOLDER = "_within"
INSTRUCTION = "instruction"  # the column of the shards, if the input has one
_HASHES, _OWNED, _PAIRS, _SCORES, _READY = "hashes", "owned", "pairs", "scores", "_ready"
_ROWS = 65_536  # of a result at once
_PARTS = 64  # of which hashes are given to the database at once
_TABLE = "CREATE TABLE hashes (part UBIGINT, high UBIGINT, low UBIGINT)"
_FIND = """
SELECT min(part) AS part, high, low FROM hashes
GROUP BY high, low HAVING count(*) > 1 ORDER BY part, high, low
"""


class SharedPairs:
    """The folder for the shared pairs of the output `store`."""

    def __init__(self, store: Store) -> None:
        self.store = store.below(FOLDER)

    @property
    def pairs(self) -> str:
        """The URL of the shards."""
        return f"{self.store.url}/{_PAIRS}"

    @property
    def scores(self) -> Store:
        """The output of these shards."""
        return self.store.below(_SCORES)

    def ready(self, parts: Iterable[str]) -> int | None:
        """Number of the pairs that were found, if that was done for all of `parts`; else None."""
        try:
            found = int(self.store.read(_READY))
        except (FileNotFoundError, ValueError):
            return None
        return found if set(parts) <= self._of(_HASHES) else None

    def begin(self, parts: set[str]) -> set[str]:
        """Remove what an interrupted run has left, except for hashes of `parts`, and the lease of
        the scores; the parts that have hashes.
        """
        self.store.delete(_READY)
        self.remove_scores()
        hashed = self._of(_HASHES) & parts
        kept = {_name(_HASHES, part) for part in hashed}
        for folder in (_HASHES, _OWNED, _PAIRS):
            names = {each.name for each in self.store.list(folder)}
            self.store.delete(*(names - kept))
        return hashed

    def remove_scores(self) -> None:
        """Remove the output, except for its lease: a driver that was paused must find it."""
        self.scores.clear(but=LEASES)

    def finish(self, pairs: int) -> None:
        """Record that all shards are there."""
        self.store.write(_READY, str(pairs).encode())

    def remove(self) -> None:
        """Remove all, if there is something."""
        if next(iter(self.store.list()), None) is not None:
            self.store.delete(_READY)
            self.store.clear()

    def write_hashes(self, part: str, table: pa.Table, schema: InputSchema) -> None:
        """Write the hashes of the rows of a part."""
        hashes = pair_hashes(find_pairs(typed(table, schema), schema))
        of = np.full(len(hashes), _number(part))
        self._write(_HASHES, part, {"part": of, "high": hashes[:, 0], "low": hashes[:, 1]})

    def share_out(self, parts: Iterable[str]) -> tuple[set[str], int]:
        """Decide which part gives away which pairs, from the hashes of all parts.

        Returns:
            The parts that give some away, and the number of all these pairs.

        Raises:
            Incomplete: the hashes cannot be read, or the local disk is full.

        """
        names = {_number(part): part for part in parts}
        owners, total = set(), 0

        def write(owned: tuple[str, Hashes]) -> tuple[str, int]:
            part, hashes = owned
            self._write(_OWNED, part, {"high": hashes[:, 0], "low": hashes[:, 1]})
            return part, len(hashes)

        with database("reuse.within", Incomplete) as connection:
            connection.execute(_TABLE)
            hashes = in_parallel(self._hashes, sorted(names.values()))
            while tables := list(islice(hashes, _PARTS)):
                connection.register("added", pa.concat_tables(tables))
                connection.execute("INSERT INTO hashes SELECT part, high, low FROM added")
            found = connection.sql(_FIND).to_arrow_reader(_ROWS)
            for part, count in in_parallel(write, _by_part(found, names)):
                owners.add(part)
                total += count
        return owners, total

    def write_pairs(self, part: str, table: pa.Table, schema: InputSchema) -> None:
        """Write the texts of the pairs that a part gives away, in the order of its queries."""
        owned = pq.read_table(io.BytesIO(self.store.read(_name(_OWNED, part))))
        wanted = set(zip(owned["high"].to_pylist(), owned["low"].to_pylist(), strict=True))
        pairs = find_pairs(typed(table, schema), schema)
        hashes = pair_hashes(pairs).tolist()
        chosen = np.array([tuple(each) in wanted for each in hashes], bool)
        self._write(_PAIRS, part, _texts(pairs.only(chosen)))

    def _hashes(self, part: str) -> pa.Table:
        return pq.read_table(io.BytesIO(self.store.read(_name(_HASHES, part))))

    def _of(self, folder: str) -> set[str]:
        """The parts that have a file in `folder`."""
        return {
            each.name.rpartition("/")[2].removesuffix(".parquet")
            for each in self.store.list(folder)
        }

    def _write(self, folder: str, part: str, columns: dict[str, pa.Array]) -> None:
        data, repeated = io.BytesIO(), [name for name in columns if name not in ("high", "low")]
        pq.write_table(pa.table(columns), data, compression="zstd", use_dictionary=repeated)
        self.store.write(_name(folder, part), data.getvalue())


def _name(folder: str, part: str) -> str:
    return f"{folder}/{part}.parquet"


def _number(part: str) -> np.uint64:
    """A number for the name of a part, the same in all runs."""
    name = hashlib.blake2b(part.encode(), digest_size=8).digest()
    return np.frombuffer(name, ">u8").astype(np.uint64)[0]


def _by_part(
    rows: pa.RecordBatchReader, names: dict[np.uint64, str]
) -> Iterator[tuple[str, Hashes]]:
    """The hashes of each part, from rows that are sorted by part."""
    waiting: list[Hashes] = []
    last: np.uint64 | None = None
    for batch in filter(len, rows):
        of = batch["part"].to_numpy()
        hashes = np.stack([batch["high"].to_numpy(), batch["low"].to_numpy()], axis=1)
        starts = np.flatnonzero(np.append(True, of[1:] != of[:-1]))
        for number, some in zip(of[starts], np.split(hashes, starts[1:]), strict=True):
            if last is not None and number != last:
                yield names[last], np.concatenate(waiting)
                waiting = []
            waiting.append(some)
            last = number
    if last is not None:
        yield names[last], np.concatenate(waiting)


def _texts(pairs: Pairs) -> dict[str, pa.Array]:
    """The distinct pairs as columns of a flat shard."""
    text = pa.large_string()
    queries, passages = pa.array(pairs.queries, text), pa.array(pairs.passages, text)
    columns = {
        "query_id": pa.array(pairs.query_of),
        "query": queries.take(pa.array(pairs.query_of)),
        "doc_id": pa.array(pairs.passage_of),
        "passage": passages.take(pa.array(pairs.passage_of)),
    }
    if pairs.instructions is not None:
        own = pa.array(pairs.instructions, text)
        columns[INSTRUCTION] = own.take(pa.array(pairs.query_of))
    return columns
