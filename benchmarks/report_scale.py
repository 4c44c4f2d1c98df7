"""Seconds and memory of the report and of drift, by rows.

    python -m benchmarks.report_scale [--rows 100000 1000000 10000000] [--shard-rows 1000000]

Generates two nights of flat rows with the ids of a corpus, 50 candidates a query, in parts of 8,192
(or a shard, if that is smaller) with receipts. The drift is computed in a process of its own, so
its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.drift import RUN
from reranker_core.output.distribution import describe
from reranker_core.output.identity import digest
from reranker_core.output.receipts import Receipt
from reranker_core.report.comparing import compare
from reranker_core.report.night import read_night
from reranker_core.report.page import page
from reranker_core.storage.store import Store

PART = 8192
REQUIRED = [
    each.name
    for each in fields(Receipt)
    if each.default is MISSING and each.default_factory is MISSING
]


def main() -> None:
    """Generate, measure in a process for each size, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--shard-rows", type=int, default=10**6)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measure(Path(options.measure), options.rows[0])))
        return
    table = Table("rows", "drift, s", "report, s", "peak MB of the process", "page, KB")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            for night in range(2):
                _generate(Path(folder) / str(night), rows, night, options.shard_rows)
            command = [sys.executable, "-m", "benchmarks.report_scale", "--measure", folder]
            done = subprocess.run(
                [*command, "--rows", str(rows)], check=True, capture_output=True, text=True
            )
        found = json.loads(done.stdout.splitlines()[-1])
        table.add_row(f"{rows:,}", *(f"{value:,.1f}" for value in found))
    Console().print(table)


def _generate(folder: Path, rows: int, seed: int, shard_rows: int) -> None:
    random = np.random.default_rng(seed)
    (folder / "_receipts").mkdir(parents=True)
    lines = []
    size = min(PART, shard_rows)
    for start in range(0, rows, size):
        stop, shard = min(start + size, rows), f"shard-{start // shard_rows}"
        ids = np.arange(start, stop)
        base = np.sin(ids * 12.9898) * 4  # the same pair has nearly the same score every night
        score = (base + random.normal(0, 0.05, len(ids))).astype(np.float32)
        name = f"{shard}-{start:010d}-000000000000"
        table = pa.table(
            {
                "query_id": pa.array(ids // 50).cast(pa.string()),
                "doc_id": pa.array(ids).cast(pa.string()),
                "score": score,
            }
        )
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
        counts = {"start": start, "stop": stop, "rows": stop - start, "pairs": stop - start}
        values = dict.fromkeys(REQUIRED, 0) | counts
        values |= {"part": name, "run": "", "shard": shard, "etag": ""}
        values |= {"scored": stop - start, "scores": describe(score), "quarantined": {}}
        lines.append(json.dumps(asdict(Receipt(**values))))
    shards = {
        f"shard-{n}": {"rows": shard_rows, "size": 1, "etag": ""}
        for n in range(-(-rows // shard_rows))
    }
    run = {**RUN, "input": {**RUN["input"], "shards": shards}}
    (folder / "_run.json").write_text(json.dumps(run))
    receipts = "\n".join(line.replace('"run": ""', f'"run": "{digest(run)}"') for line in lines)
    (folder / "_receipts" / "batch-0.jsonl").write_text(receipts)
    manifest = {"state": "complete", "parts": len(lines)}
    (folder / "_manifest.json").write_text(json.dumps(manifest))
    (folder / "_SUCCESS").touch()


def _measure(folder: Path, rows: int) -> list[float]:
    """Seconds of drift, seconds of the report, MB, and KB of the page."""
    stores = [Store(str(folder / str(night))) for night in range(2)]
    start = time.monotonic()
    found = compare(stores[0], stores[1], (RUN, RUN), ({"pairs": rows}, {"pairs": rows}))
    drift = time.monotonic() - start
    if found.remarks():
        raise SystemExit(f"two honest nights differ: {found.remarks()}")
    start = time.monotonic()
    size = len(page(read_night(stores[1])))
    report = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [drift, report, peak, size / 1024]


if __name__ == "__main__":
    main()
