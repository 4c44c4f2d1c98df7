"""What it costs to know a pair, and what it saves.

    python -m benchmarks.reuse [--pairs 1000000] [--known 0.95] [--keys 1000000] [--scored 400]
    python -m benchmarks.reuse --memory 2000000 20000000

Parts of made-up texts as long as docstrings go through the code of the encode and commit stages,
first without and then with an index of earlier scores. The rate of a model is measured on
`--scored` docstrings. Nothing here needs Ray. The cost of a pair is processor time of one core.
With `--memory`, indexes of so many keys are built instead, each in a process of its own, whose peak
of resident memory is printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.environment import describe
from benchmarks.pairs import pairs_of_docstrings
from benchmarks.random_checkpoints import random_head
from reranker_core.config import Config, load_config
from reranker_core.input.pairs import Pairs, find_pairs
from reranker_core.input.schema import resolve_schema
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.encoder import pair_format
from reranker_core.reuse.building import Layout, index_of
from reranker_core.reuse.hashes import Hashes, pair_hashes
from reranker_core.reuse.keys import SCORE, PartKeys, as_binary, from_bytes, key_table, to_bytes
from reranker_core.reuse.known import Known, Reuse
from reranker_core.score.loading import load_scorer

PART = 8192
CANDIDATES = 50
_DAY = 20_000
_SEED = 0


class Clock:
    """Processor seconds of this process by what it did."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Add what the `with` block takes."""
        start = time.process_time()
        yield
        self.seconds[what] += time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--known", type=float, default=0.95)
    parser.add_argument("--keys", type=int, default=1_000_000, help="in the index, at least")
    parser.add_argument("--scored", type=int, default=400, help="docstrings; 0: no model")
    parser.add_argument("--memory", type=int, nargs="+", help="numbers of keys")
    options = parser.parse_args()
    if options.memory:
        print(json.dumps({"index": [_peak(keys) for keys in options.memory]} | describe()))
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        models = {"demo": Path("demo/model"), "MiniLM-L6": random_head(Path(folder) / "minilm")}
        clock, size = measure(Path(folder), options.pairs, options.known, options.keys)
        each = {what: 1e6 * s / options.pairs for what, s in clock.seconds.items()}
        each["index, per key"] = (
            1e6 * clock.seconds["index, per key"] / max(options.keys, options.pairs)
        )
        some = models if options.scored else {}
        forward = {name: rate(path, options.scored) for name, path in some.items()}
    _print(each, forward, size, options.known)
    print(json.dumps({"microseconds": each, "forward": forward, "key_bytes": size} | describe()))


def measure(folder: Path, pairs: int, known: float, keys: int) -> tuple[Clock, float]:
    """Seconds of each step, and bytes of a key on the store."""
    clock, written, parts = Clock(), 0, list(_parts(pairs))
    stored: list[bytes] = []
    # Arrow gets its functions ready when they are called for the first time.
    to_bytes(key_table(PartKeys.of(parts[0]), np.ones(PART, bool), {SCORE: np.ones(PART)}, _DAY))
    for part in parts:
        with clock("hash"):
            hashes = pair_hashes(part)
        with clock("keys"):
            own = PartKeys.of(part, hashes)
            score = np.ones(len(part.status), np.float32)
            data = to_bytes(key_table(own, part.status == 0, {SCORE: score}, _DAY))
        written += len(data)
        old = from_bytes(data)
        chosen = np.random.default_rng(len(stored)).random(old.num_rows) < known
        stored.append(to_bytes(old.filter(pa.array(chosen))))
    count = sum(len(part.query_of) for part in parts)

    def tables() -> Iterator[pa.Table]:
        yield from map(from_bytes, stored)
        yield from _other_keys(keys - int(known * count))

    with clock("index, per key"):
        index = index_of(folder / "index", Layout((), ()), max(keys, count), tables)
    reuse = Reuse(index.find, 0, 0.0, 0.0)
    for part in parts:
        hashes = pair_hashes(part)
        with clock("look up"):
            found, again = reuse.known(hashes)
        with clock("divide"):
            left = np.ones(len(hashes), bool)
            left[found.index] = again
            Known.of_part(part, found, 0, 0.0)
            part.only(left)
    return clock, written / max(count, 1)


def _peak(keys: int) -> dict[str, float]:
    """Of building an index of so many keys, in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_build, (keys,))


def _build(keys: int) -> dict[str, float]:
    before, start = _resident(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        index_of(Path(folder) / "index", Layout((), ()), keys, lambda: _other_keys(keys))
        seconds = time.monotonic() - start
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {
        "keys": keys,
        "mib_before": round(before),
        "peak_mib": round(_resident()),
        "bytes_per_key": round(size / keys, 1),
        "seconds": round(seconds, 1),
    }


def _resident() -> float:
    """Peak of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rate(model: Path, count: int) -> dict[str, float]:
    """Microseconds of tokenizing and of the forward for a pair, on one core."""
    settings = [f"model.path={model}", "input.path=x", "output.path=x", "model.dtype=float32"]
    settings += ["preflight.checks.meaning=off", "model.device=cpu"]
    config: Config = load_config(None, settings)
    scorer = load_scorer(config)
    texts = pairs_of_docstrings(count)
    schema = resolve_schema(_table(texts).schema, config, "docstrings")
    pairs = find_pairs(_table(texts), schema)
    form = pair_format(open_checkpoint(config.model), config.model)
    clock = Clock()
    with clock("tokenize"):
        sequences = form.encode(pairs.queries, pairs.passages, pairs.query_of, pairs.passage_of)
    with clock("forward"):
        scorer.score(sequences)
    return {what: 1e6 * seconds / count for what, seconds in clock.seconds.items()}


def _table(texts: list[tuple[str, str]]) -> pa.Table:
    ids = [str(number) for number in range(len(texts))]
    query, passage = zip(*texts, strict=True)
    return pa.table({"query_id": ids, "query": query, "doc_id": ids, "passage": passage})


def _parts(pairs: int) -> Iterator[Pairs]:
    """Parts of made-up pairs, with 400 characters in a passage."""
    for start in range(0, pairs, PART):
        count = min(PART, pairs - start)
        numbers = np.arange(start, start + count)
        queries = [
            f"which function does number {n} of them" for n in np.unique(numbers // CANDIDATES)
        ]
        yield Pairs(
            None,
            np.zeros(count, np.int8),
            queries,
            [f"{n} passage with words " * 16 for n in numbers],
            numbers // CANDIDATES - start // CANDIDATES,
            np.arange(count),
            np.arange(count, dtype=np.int32),
        )


def _other_keys(count: int) -> Iterator[pa.Table]:
    """Keys that are not asked for."""
    random = np.random.default_rng(_SEED)
    for start in range(0, count, PART):
        hashes: Hashes = random.integers(0, 2**64, (min(PART, count - start), 2), np.uint64)
        rows = len(hashes)
        day = pa.array(np.full(rows, _DAY, np.int32)).cast(pa.date32())
        yield pa.table({"hash": as_binary(hashes), SCORE: np.ones(rows, np.float32), "day": day})


def _print(
    each: dict[str, float], forward: dict[str, dict[str, float]], size: float, known: float
) -> None:
    table = Table("", "µs per pair", title=f"processor time; a key has {size:.1f} bytes")
    for what, value in each.items():
        table.add_row(what, f"{value:.2f}")
    cost = sum(value for what, value in each.items() if what != "keys")
    for name, found in forward.items():
        whole = found["tokenize"] + found["forward"]
        left = (1 - known) * whole + cost
        table.add_row(f"{name}: tokenize and score", f"{whole:,.0f}")
        table.add_row(
            f"{name}: with {known:.0%} known", f"{left:,.0f} ({whole / left:.1f} times less)"
        )
        table.add_row(f"{name}: pays from a known share of", f"{cost / whole:.2%}")
    Console().print(table)


if __name__ == "__main__":
    main()
