"""Where a thousand replicas would saturate: the costs of a part, measured, and what follows.

    python -m benchmarks.scale [--parts 200 1000] [--out FILE]

Two jobs of small parts on this machine's Ray differ in their number of parts only; what the larger
one takes more is the cost of a part: processor seconds of the driver, of Ray's own processes, and
of the workers around the scorer. It is multiplied for numbers of replicas and rates of a replica,
as are the requests of a commit: nothing is simulated beyond that. The largest number of parts a
second that one driver can see off decides how large parts must be.
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

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.environment import describe
from benchmarks.memory import write_rows

ROWS = 8  # of a part: next to nothing to score
REPLICAS = (10, 100, 1000)
RATES = (500, 5000)  # pairs a second and replica: a small model on cores, a large one on a GPU
PART_ROWS = (8192, 65_536)
# What `commit` and `Fence.check` ask for when nothing goes wrong: a PUT for the data and one for
# the receipt, a LIST of the lease before. S3's documentation: 3,500 PUTs a second and prefix.
PUTS, LISTS = 2, 1
PUTS_A_SECOND = 3500


def main() -> None:
    """Measure, extrapolate, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", type=int, nargs=2, default=(200, 1000))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    few, many = (_job(parts) for parts in options.parts)
    more = options.parts[1] - options.parts[0]
    costs = {who: (many[who] - few[who]) / more for who in many}
    rows = [
        saturation(costs["driver"], replicas, rate, part_rows)
        for rate in RATES
        for part_rows in PART_ROWS
        for replicas in REPLICAS
    ]
    result = {
        "benchmark": "scale",
        "parts": list(options.parts),
        "milliseconds_a_part": {who: round(1000 * cost, 2) for who, cost in costs.items()},
        "extrapolated": rows,
        **describe(),
    }
    table = Table(*rows[0], title=f"driver time per part: {1000 * costs['driver']:.1f} ms")
    for row in rows:
        table.add_row(*(f"{value:,}" for value in row.values()))
    Console().print(table)
    print(json.dumps(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def saturation(driver: float, replicas: int, rate: int, part_rows: int) -> dict[str, float]:
    """Loads that so many replicas make.

    Args:
        driver: its processor seconds a part.
        replicas: how many score at once.
        rate: pairs a second of each.
        part_rows: pairs of a part.

    """
    parts = replicas * rate / part_rows
    return {
        "pairs/s of a replica": rate,
        "plan.part_rows": part_rows,
        "replicas": replicas,
        "parts/s": round(parts, 2),
        "of a driver's core": round(parts * driver, 3),
        "of S3's PUTs a prefix": round(parts * PUTS / PUTS_A_SECOND, 4),
        "LISTs/s": round(parts * LISTS, 2),
    }


def _job(parts: int) -> dict[str, float]:
    """Processor seconds of a job by whose they are, and its wall seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "in.parquet", parts * ROWS)
        command = [
            *(sys.executable, "-m", "jobs.rerank", f"input.path={folder}/in.parquet"),
            *(f"output.path={folder}/out", "model.path=demo/model", f"plan.part_rows={ROWS}"),
            *("ray.address=local", "preflight.checks.meaning=off"),
        ]
        start = time.monotonic()
        job = subprocess.Popen(command)
        seconds: dict[int, tuple[str, float]] = {}
        while job.poll() is None:
            time.sleep(0.3)
            try:
                family = [psutil.Process(job.pid)]
                family += family[0].children(recursive=True)
            except psutil.Error:
                continue
            for process in family:
                try:
                    spent = sum(process.cpu_times()[:2])
                    seconds[process.pid] = (_whose(process, job.pid), spent)
                except psutil.Error:
                    continue
        wall = time.monotonic() - start
        if job.returncode:
            sys.exit(f"the job exited {job.returncode}")
    found = {"driver": 0.0, "workers": 0.0, "ray": 0.0, "wall": wall}
    for who, spent in seconds.values():
        found[who] += spent
    return found


def _whose(process: Any, driver: int) -> str:
    if process.pid == driver:
        return "driver"
    title = " ".join(process.cmdline())
    return "workers" if "Map" in title or "ReadParts" in title or "IDLE" in title else "ray"


if __name__ == "__main__":
    main()
