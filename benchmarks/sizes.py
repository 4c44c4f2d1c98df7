"""Speed and memory of a CPU's batches: padded, unpadded, and filled up to few sizes.

    python -m benchmarks.sizes [--shape minilm] [--dtype auto] [--parts 6] [--pairs 2000]
                               [--out FILE]

oneDNN keeps what it prepared for each size of a product. So what many sizes cost shows only after
many batches. Each way of making batches scores the same docstring pairs in a process of its own,
part by part, in turn.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.contestants import SHAPES, ours
from benchmarks.environment import describe
from benchmarks.pairs import pairs_of_docstrings
from benchmarks.rates import timed
from reranker_core.device import DTYPES

WAYS: dict[str, dict[str, Any]] = {
    "padded": {"packed": False},
    "unpadded": {"fill": 1},
    "unpadded, filled up": {},  # as the scorer does
}


def main() -> None:
    """Measure in turn, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=list(SHAPES), default="minilm")
    parser.add_argument("--dtype", choices=["auto", *DTYPES], default="auto")
    parser.add_argument("--parts", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=2000, help="pairs per part")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        model = SHAPES[options.shape].make(Path(name))
        ways = {way: _start(way, model, options) for way in WAYS}
        for _ in range(options.parts):
            for way, (connection, _) in ways.items():
                connection.send("next")
                found.setdefault(way, []).append(connection.recv())
        for connection, process in ways.values():
            connection.send(None)
            process.join()
    table = Table("batches", "first part: tokens/s", "MiB", "last part: tokens/s", "MiB")
    for way, parts in found.items():
        ends = (parts[0], parts[-1])
        table.add_row(way, *(f"{part[what]:,.0f}" for part in ends for what in ("rate", "mib")))
    Console().print(table)
    if options.out:
        settings = {name: value for name, value in vars(options).items() if name != "out"}
        result = {"benchmark": "sizes", **settings, "found": found, **describe()}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def _start(way: str, model: Path, options: argparse.Namespace) -> tuple[Connection, Any]:
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_score, args=(there, way, model, options))
    process.start()
    there.close()
    assert here.recv() == "ready"
    return here, process


def _score(connection: Connection, way: str, model: Path, options: argparse.Namespace) -> None:
    """Score the next part whenever told to, and tell tokens/s and resident MiB."""
    torch.set_num_threads(options.threads)
    scorer = ours(model, options.dtype, *SHAPES[options.shape].settings)
    engine = scorer._engine
    engine.shapes = replace(engine.shapes, **WAYS[way])
    pairs = pairs_of_docstrings(options.parts * options.pairs)
    parts = [
        scorer.encode(pairs[begin : begin + options.pairs])
        for begin in range(0, len(pairs), options.pairs)
    ]
    connection.send("ready")
    for part in parts:
        connection.recv()
        run = timed(engine.compute, part)
        rate = int(part.tokens.lengths.sum()) / run.wall
        mib = psutil.Process().memory_info().rss / (1 << 20)
        connection.send({"rate": round(rate), "mib": round(mib)})
    connection.recv()


if __name__ == "__main__":
    main()
