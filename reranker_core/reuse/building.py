"""Building an index: once on a machine, in a memory that does not depend on the number of scores.

Keys are spread over buckets by the first bits of their hashes, one file a bucket. Then each bucket
is sorted in memory and appended to the index. A bucket's file is removed when it is in the index,
so that the whole needs little more disk than the index.

    <cache>/reuse/<name>/         an index
    <cache>/reuse/<name>.building held by the process that builds it; others wait
    <cache>/reuse/<name>.used     held by all processes that use it

A process that is killed leaves a folder without `index.json`; the next one begins again. An index
that no process uses is removed before another one is built.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from math import ceil, log2
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from reranker_core.errors import ConfigError
from reranker_core.reuse.index import MARKER, Index
from reranker_core.reuse.keys import (
    CHUNKS,
    DAY,
    HASH,
    SCORE,
    TOKENS_LOST,
    from_binary,
    layer_column,
)
from reranker_core.storage.parallel import in_parallel

log = logging.getLogger(__name__)

_BUCKET_ROWS = 1_000_000  # in memory at once for each thread, also while keys are spread
_THREADS = 4  # that sort
_MOST_BITS = 9  # of open files: processes may have 1,024
_MORE = {"chunks": CHUNKS, "lost": TOKENS_LOST}


class Layout:
    """What an index has for each hash.

    Args:
        layers: lower cutoff layers whose scores it has before the score of the output.
        more: which of `chunks` and `lost` it has.

    """

    def __init__(self, layers: Sequence[int], more: Sequence[str]) -> None:
        self.scores = [*map(layer_column, layers), SCORE]
        self.more = [*more]
        fields = [("high", "u8"), ("low", "u8"), ("scores", "f4", (len(self.scores),))]
        fields += [("day", "i4"), *((name, "i4") for name in more)]
        self.record = np.dtype(fields)

    def records(self, keys: pa.Table) -> np.ndarray[Any, Any]:
        """The keys of a part as records of an index."""
        found = np.empty(keys.num_rows, self.record)
        found["high"], found["low"] = from_binary(keys.column(HASH)).T
        for place, name in enumerate(self.scores):
            found["scores"][:, place] = keys.column(name).to_numpy()
        found["day"] = keys.column(DAY).cast(pa.int32()).to_numpy()
        for name in self.more:
            found[name] = keys.column(_MORE[name]).to_numpy()
        return found


def index_of(
    folder: Path,
    layout: Layout,
    rows: int,
    keys: Callable[[], Iterable[pa.Table]],
    working: Callable[[], object] = lambda: None,
) -> Index:
    """The index in `folder`, which is built if it is not there.

    This process keeps it from being removed until it ends.

    Args:
        folder: its place; its name says what is in it.
        layout: what it has.
        rows: about how many keys there are.
        keys: reads them, part by part. Of equal hashes, the newest score is taken, and of equally
            old ones the first.
        working: called now and then while it is built.

    Raises:
        ConfigError: the disk is too small, or cannot be written.

    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        used = _locked(folder.with_name(f"{folder.name}.used"), fcntl.LOCK_SH)
        found = _complete(folder, used)
        if found is None:
            with _locked(folder.with_name(f"{folder.name}.building"), fcntl.LOCK_EX):
                found = _complete(folder, used)  # another process may have built it
                if found is None:
                    _make_room(folder, rows * layout.record.itemsize)
                    _build(folder, layout, rows, keys(), working)
                    found = Index(folder, used)
        return found
    except OSError as error:
        raise ConfigError(
            f"the index of earlier scores cannot be written to {folder} on {socket.gethostname()} "
            f"({error.strerror}). Set XDG_CACHE_HOME to a folder with enough space, on all nodes, "
            "or leave out reuse.from"
        ) from None


def _complete(folder: Path, lock: IO[str]) -> Index | None:
    try:
        return Index(folder, lock)
    except (OSError, ValueError, KeyError):  # not there, not finished, or damaged
        return None


def _build(
    folder: Path,
    layout: Layout,
    rows: int,
    keys: Iterable[pa.Table],
    working: Callable[[], object],
) -> None:
    log.info("building the index of about %d earlier scores in %s", rows, folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    bits = min(_MOST_BITS, max(0, ceil(log2(max(rows, 1) / _BUCKET_ROWS))))
    buckets = [folder / f"bucket-{number}" for number in range(1 << bits)]
    with ExitStack() as files:
        spread = [files.enter_context(open(path, "wb")) for path in buckets]
        for records in _large(map(layout.records, keys)):
            working()
            of = records["high"] >> np.uint64(64 - bits) if bits else np.zeros(len(records), "u8")
            order = np.argsort(of.astype(np.uint16), kind="stable")  # by radix
            ends = np.searchsorted(of[order], np.arange(len(buckets)), side="right")
            for file, chosen in zip(spread, np.split(order, ends[:-1]), strict=True):
                records[chosen].tofile(file)
    total = 0
    kinds = {"high": "u8", "low": "u8", "scores": "f4", "day": "i4"}
    kinds |= dict.fromkeys(layout.more, "i4")
    with ExitStack() as files:
        whole = {
            name: files.enter_context(open(folder / f"{name}.{kind}", "wb"))
            for name, kind in kinds.items()
        }
        read = partial(_sorted, layout)
        for path, records in zip(buckets, in_parallel(read, buckets, _THREADS), strict=True):
            working()
            path.unlink()
            total += len(records)
            for name, column in whole.items():
                np.ascontiguousarray(records[name]).tofile(column)
        for column in whole.values():
            column.flush()
            os.fsync(column.fileno())
    facts = {"rows": total, "scores": len(layout.scores), "columns": layout.more}
    begun = folder / f".{MARKER}"
    begun.write_text(json.dumps(facts))
    os.replace(begun, folder / MARKER)


def _sorted(layout: Layout, path: Path) -> np.ndarray[Any, Any]:
    """The records of a bucket sorted by hash, the newest one of each hash."""
    records = np.fromfile(path, layout.record)
    records = records[np.argsort(records["high"], kind="stable")]
    twice = records["high"][1:] == records["high"][:-1]
    if twice.any():  # the same pair in several parts or outputs; or, hardly ever, another one
        equal = np.flatnonzero(np.append(twice, False) | np.insert(twice, 0, False))
        some = records[equal]
        records[equal] = some[np.lexsort((-some["day"], some["low"], some["high"]))]
    first = np.ones(len(records), bool)
    for half in ("high", "low"):
        first[1:] &= records[half][1:] == records[half][:-1]
    first[1:] = ~first[1:]
    return records[first]


def _large(parts: Iterable[np.ndarray[Any, Any]]) -> Iterator[np.ndarray[Any, Any]]:
    """Records of several parts at once."""
    waiting: list[np.ndarray[Any, Any]] = []
    rows = 0
    for part in parts:
        waiting.append(part)
        rows += len(part)
        if rows >= _BUCKET_ROWS:
            yield np.concatenate(waiting)
            waiting, rows = [], 0
    if waiting:
        yield np.concatenate(waiting)


def _make_room(folder: Path, needed: int) -> None:
    """Remove indexes that no process uses. Raises ConfigError if the disk is too small."""
    for used in folder.parent.glob("*.used"):
        other = used.with_suffix("")
        if other != folder and other.exists():
            with suppress(BlockingIOError), _locked(used, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(other, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)  # what a killed process has left
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise ConfigError(
            f"the index of earlier scores needs {needed / 1e9:.1f} GB in {folder.parent} on "
            f"{socket.gethostname()}, which has {free / 1e9:.1f} GB free. Set XDG_CACHE_HOME to a "
            "folder with enough space, on all nodes, or leave out reuse.from"
        )


def _locked(path: Path, how: int) -> IO[str]:
    """A lock, which ends when the file is closed."""
    lock = open(path, "w", encoding="utf-8")  # noqa: SIM115 - its user closes it
    try:
        fcntl.flock(lock, how)
    except OSError:
        lock.close()
        raise
    return lock
