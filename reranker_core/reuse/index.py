"""Old scores by hash, in files on this machine that all its processes map into memory.

high.u8, low.u8     the two halves of each hash, sorted
scores.f4           k scores of each
day.i4              on which each was computed
chunks.i4, lost.i4  where the old outputs have them
index.json          written last: number of rows, and the number of scores of each
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from reranker_core.reuse.hashes import Hashes, in_order
from reranker_core.reuse.known import Found

MARKER = "index.json"


class Index:
    """A complete index.

    Attributes:
        rows: number of hashes.

    Args:
        folder: its place.
        lock: kept open as long as it is in use.

    """

    def __init__(self, folder: Path, lock: IO[str] | None = None) -> None:
        self._lock = lock
        facts = json.loads((folder / MARKER).read_text())
        self.rows: int = facts["rows"]
        self._high = self._mapped(folder / "high.u8", np.uint64)
        self._low = self._mapped(folder / "low.u8", np.uint64)
        scores = self._mapped(folder / "scores.f4", np.float32, facts["scores"])
        self._scores = scores.reshape(self.rows, facts["scores"])
        self._day = self._mapped(folder / "day.i4", np.int32)
        self._more = {
            name: self._mapped(folder / f"{name}.i4", np.int32) for name in facts["columns"]
        }

    def find(self, hashes: Hashes) -> Found:
        """The scores of the hashes that are known. Each distinct hash is asked for once."""
        order = in_order(hashes)  # so that neighbours are on the same pages
        high, low = hashes[order].T
        at = np.searchsorted(self._high, high)
        found = np.full(len(order), -1, np.int64)
        open_ = np.arange(len(order))
        while len(open_):  # a second time only where the first halves of two hashes are equal
            open_ = open_[at[open_] < self.rows]
            open_ = open_[self._high[at[open_]] == high[open_]]
            same = self._low[at[open_]] == low[open_]
            found[open_[same]] = at[open_[same]]
            open_ = open_[~same]
            at[open_] += 1
        known = np.flatnonzero(found >= 0)
        known = known[np.argsort(order[known])]
        rows = found[known]
        zeros = np.zeros(len(rows), np.int32)
        return Found(
            order[known],
            self._scores[rows],
            self._more["chunks"][rows] if "chunks" in self._more else zeros,
            self._more["lost"][rows] if "lost" in self._more else zeros,
            self._day[rows],
        )

    def _mapped(self, path: Path, kind: Any, each: int = 1) -> npt.NDArray[Any]:
        size = path.stat().st_size
        if size != self.rows * each * np.dtype(kind).itemsize:
            raise ValueError(f"{path} has {size} bytes")
        if not size:
            return np.zeros(0, kind)
        return np.asarray(np.memmap(path, kind, mode="r"))
