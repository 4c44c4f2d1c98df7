"""What `plan --estimate` says against what the run then takes.

    python -m benchmarks.estimate [--rows 1000000] [--only demo short nested]

Three inputs, each scored by the demo's model: the demo's own (15,000 pairs of docstrings), `--rows`
short rows (5 to 12 words a pair, hardly two alike), and the demo's pairs as nested rows, a query
with 50 candidates each. Each is estimated twice: before any run, from a minute of scoring in one
process, and after the run, from its output. A run's time is that of the whole process, the start
of Python and Ray included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.environment import describe
from demo.corpus import HELD_OUT, first_stage, read_docs, sample_queries, write_shards
from demo.run import CANDIDATES, QUERIES

SHARD_ROWS = 100_000


def main() -> None:
    """Estimate, run, estimate again, for each input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", default=["demo", "short", "nested"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write = {
            "demo": _demo,
            "short": lambda to: _short(to, options.rows),
            "nested": _nested,
        }
        cases = {}
        for kind in options.only:
            write[kind](folder / kind / "in")
            cases[kind] = _measure(folder / kind)
    result = {"benchmark": "estimate", "cases": cases, "load_after": os.getloadavg()} | describe()
    _print(result)


def _measure(folder: Path) -> dict[str, Any]:
    settings = [
        *("--config", "configs/demo.yaml"),
        *(f"input.path={folder}/in", f"output.path={folder}/out", "ray.address=local"),
    ]
    before = _estimate(folder, settings)
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "jobs.rerank", *settings], check=True)
    seconds = time.monotonic() - start
    # The same input anew, with the speed of the output beside it.
    after = _estimate(folder, [*settings, f"output.path={folder}/again"])
    return {
        "pairs": before["work"]["pairs"],
        "seconds": round(seconds, 1),
        "estimated_before": before["seconds"],
        "ratio_before": round(before["seconds"] / seconds, 3),
        "estimated_after": after["seconds"],
        "ratio_after": round(after["seconds"] / seconds, 3),
        "origin_after": after["speed"]["origin"].split(" of ")[0],
    }


def _estimate(folder: Path, settings: list[str]) -> dict[str, Any]:
    path = folder / "estimate.json"
    command = [sys.executable, "-m", "jobs.plan", *settings, "--estimate", "--json", str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(path.read_text())
    found["seconds"] = round(found["estimate"]["hours"] * 3600, 1)
    return found


def _demo(to: Path) -> None:
    docs = read_docs(HELD_OUT)
    queries = sample_queries(docs, QUERIES)
    write_shards(docs, queries, first_stage(docs, queries, CANDIDATES), to)


def _short(to: Path, rows: int) -> None:
    """Random words of the demo's corpus."""
    words = np.array(sorted({word for doc in read_docs(HELD_OUT) for word in doc.query.split()}))
    rng = np.random.default_rng(0)
    to.mkdir(parents=True)
    for first in range(0, rows, SHARD_ROWS):
        number = np.arange(first, min(first + SHARD_ROWS, rows))
        columns = {
            "query_id": pa.array(number // CANDIDATES),
            "doc_id": pa.array(number),
            "query": [" ".join(rng.choice(words, rng.integers(2, 5))) for _ in number],
            "passage": [" ".join(rng.choice(words, rng.integers(3, 8))) for _ in number],
        }
        pq.write_table(pa.table(columns), to / f"{first:09}.parquet")


def _nested(to: Path) -> None:
    _demo(to.with_name("flat"))
    rows = ds.dataset(to.with_name("flat")).to_table(["query_id", "query", "doc_id", "passage"])
    lists = rows.group_by(["query_id", "query"]).aggregate(
        [("doc_id", "list"), ("passage", "list")]
    )
    to.mkdir(parents=True)
    names = {"doc_id_list": "doc_id", "passage_list": "passage"}
    pq.write_table(lists.rename_columns(names), to / "nested.parquet", row_group_size=50)


def _print(result: dict[str, Any]) -> None:
    table = Table("input", "pairs", "run", "estimate before", "estimate from an output")
    for kind, case in result["cases"].items():
        table.add_row(
            kind,
            f"{case['pairs']:,}",
            f"{case['seconds']:.0f} s",
            f"{case['estimated_before']:.0f} s ({case['ratio_before']:.2f} ×)",
            f"{case['estimated_after']:.0f} s ({case['ratio_after']:.2f} ×)",
        )
    Console(stderr=True).print(table)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
