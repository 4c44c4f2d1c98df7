"""Throughput, and memory of the driver and the replica, over inputs of many short rows.

    python -m benchmarks.memory [--rows 1000 10000 100000 1000000]

Samples resident memory every second; flat means that the second half needs no more than the first,
and a large input no more than a small one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.environment import describe

WORDS = [
    "read",
    "write",
    "file",
    "path",
    "value",
    "index",
    "row",
    "model",
    "cache",
    "sort",
    "error",
    "number",
    "list",
    "token",
    "data",
]
MIB = 1 << 20
ROW_GROUP = 100_000
HALVES = ("first_half", "second_half")


def main() -> None:
    """Run the job on inputs of each size and watch it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    found = [measure(rows) for rows in parser.parse_args().rows]
    table = Table(
        *("rows", "pairs/s while scoring", "driver, peak MiB: first half", "second half"),
        *("replica: first half", "second half"),
    )
    for row in found:
        halves = [str(row[f"{who}_mib"][half]) for who in ("driver", "replica") for half in HALVES]
        table.add_row(f"{row['rows']:,}", f"{row['pairs_per_second']:,}", *halves)
    Console().print(table)
    print(json.dumps({"benchmark": "memory", "sizes": found, **describe()}))


def measure(rows: int) -> dict[str, Any]:
    """One job on so many rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "in.parquet", rows)
        start = time.monotonic()
        samples = _watch(folder)
        seconds = time.monotonic() - start
        manifest = json.loads((folder / "out/_manifest.json").read_text())
    return {
        "rows": manifest["rows"],
        "scored": manifest["scored"],
        "seconds": round(seconds, 1),
        "pairs_per_second": round(manifest["pairs"] / manifest["scoring_seconds"]),
        **{f"{who}_mib": _halves(values) for who, values in samples.items()},
    }


def write_rows(path: Path, rows: int) -> None:
    """Many short rows, in row groups."""
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(path, _group(rng, 0, 1).schema) as writer:
        for first in range(0, rows, ROW_GROUP):
            writer.write_table(_group(rng, first, min(ROW_GROUP, rows - first)))


def _group(rng: np.random.Generator, first: int, count: int) -> pa.Table:
    passages = [" ".join(words) for words in rng.choice(WORDS, (count, 6))]
    ids = np.arange(first, first + count)
    return pa.table(
        {
            "query_id": ids // 50,
            "query": [f"query {i // 50}" for i in ids],
            "doc_id": ids,
            "passage": passages,
        }
    )


def _watch(folder: Path) -> dict[str, list[float]]:
    command = [
        *(sys.executable, "-m", "jobs.rerank", f"input.path={folder}/in.parquet"),
        *(f"output.path={folder}/out", "model.path=demo/model", "ray.address=local"),
    ]
    samples: dict[str, list[float]] = {"driver": [], "replica": []}
    job = subprocess.Popen(command)
    driver = psutil.Process(job.pid)
    while job.poll() is None:
        time.sleep(1)
        try:
            replicas = [p for p in driver.children(recursive=True) if "Replica" in _title(p)]
            if replicas:
                samples["driver"].append(driver.memory_info().rss / MIB)
                samples["replica"].append(max(_private(p) for p in replicas))
        except psutil.Error:
            continue
    if job.returncode:
        sys.exit(f"the job exited {job.returncode}")
    return samples


def _title(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


def _private(process: psutil.Process) -> float:
    """Without the shared pages of the object store, whose size Ray bounds."""
    memory = process.memory_info()
    return (memory.rss - memory.shared) / MIB


def _halves(values: list[float]) -> dict[str, int | None]:
    """The peak of each; None for a run too short to be sampled."""
    half = len(values) // 2
    parts = (values[:half], values[half:])
    return {
        name: round(max(part)) if part else None for name, part in zip(HALVES, parts, strict=True)
    }


if __name__ == "__main__":
    main()
