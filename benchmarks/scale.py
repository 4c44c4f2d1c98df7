"""Where a thousand replicas would saturate: the costs of a part, measured, and what follows.

    python -m benchmarks.scale [--parts 200 1000] [--together] [--out FILE]

Three jobs run on this machine's Ray: few small parts, many small parts, and few parts with many
rows. A process needs some time for each second of a job, and some for each part. The third job has
as many parts as the first one, so what it takes more is the cost of a second. The second job gives
the cost of a part, without that of its seconds: of the driver, of the coordinator, of Ray's own
processes, and of the workers around the scorer. Both are multiplied for numbers of replicas and
rates of a replica, as are the requests of a commit. Each part is a row group; with `--together`,
all parts are slices of one row group.

Then 1,000 made-up replicas report to a coordinator in this process, and their findings are written
as `_preflight.json`. Nothing else is simulated.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.environment import describe
from benchmarks.memory import write_rows
from reranker_core.pipeline.coordinator import Coordinator
from reranker_core.preflight.agreement import Finding
from reranker_core.preflight.fleet import Fleet, Origin
from reranker_core.report.night import PREFLIGHT
from reranker_core.storage.store import Store

ROWS = 8  # of a part: next to nothing to score
MANY_ROWS = 3000  # so many that scoring takes far longer than all else
REPLICAS = (10, 100, 1000)
RATES = (500, 5000)  # pairs a second and replica: a small model on cores, a large one on a GPU
PART_ROWS = (8192, 65_536)
# What `commit` and `Fence.check` ask for when nothing goes wrong: a PUT for the data and one for
# the receipt, a LIST of the lease before. S3's documentation: 3,500 PUTs a second and prefix.
PUTS, LISTS = 2, 1
PUTS_A_SECOND = 3500
_DRIVING = ("driver", "coordinator")  # one process each, whatever the number of replicas


def main() -> None:
    """Measure, extrapolate, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", type=int, nargs=2, default=(200, 1000))
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    fewer, more = options.parts
    few, many = (_job(parts, ROWS, options.together) for parts in options.parts)
    slow = _job(fewer, MANY_ROWS, options.together)
    idle = {
        who: (slow.seconds[who] - few.seconds[who]) / (slow.wall - few.wall) for who in _DRIVING
    }
    costs = {
        who: (many.seconds[who] - few.seconds[who]) / (more - fewer)
        - idle.get(who, 0) * (many.wall - few.wall) / (more - fewer)
        for who in many.seconds
    }
    rows = [
        saturation(idle, costs, replicas, rate, part_rows)
        for rate in RATES
        for part_rows in PART_ROWS
        for replicas in REPLICAS
    ]
    result = {
        "benchmark": "scale",
        "parts": list(options.parts),
        "parts_are": "slices of one row group" if options.together else "row groups",
        "milliseconds_a_part": {who: round(1000 * cost, 2) for who, cost in costs.items()},
        "milliseconds_a_second": {who: round(1000 * cost, 2) for who, cost in idle.items()},
        "wall_milliseconds_a_part": round(1000 * (many.wall - few.wall) / (more - fewer), 2),
        "extrapolated": rows,
        "made_up_replicas": {
            f"{replicas:,}": _preflight_of(replicas, many.report) for replicas in REPLICAS
        },
        **describe(),
    }
    title = (
        f"driver: {1000 * costs['driver']:.1f} ms per part, {1000 * idle['driver']:.1f} per second"
    )
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{value:,}" for value in row.values()))
    Console().print(table)
    print(json.dumps(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def saturation(
    idle: dict[str, float], costs: dict[str, float], replicas: int, rate: int, part_rows: int
) -> dict[str, float]:
    """Loads that so many replicas make.

    Args:
        idle: processor seconds a second of the `driver` and the `coordinator`, without parts.
        costs: their processor seconds a part.
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
        "of a driver's core": round(idle["driver"] + parts * costs["driver"], 3),
        "of the coordinator's core": round(idle["coordinator"] + parts * costs["coordinator"], 3),
        "of S3's PUTs a prefix": round(parts * PUTS / PUTS_A_SECOND, 4),
        "LISTs/s": round(parts * LISTS, 2),
    }


@dataclass(frozen=True)
class _Job:
    """Processor seconds of a job by whose they are, its wall seconds, and a replica's report."""

    seconds: dict[str, float]
    wall: float
    report: dict[str, Any]


def _job(parts: int, rows: int, together: bool) -> _Job:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "in.parquet", parts * rows)
        if not together:
            table = pq.read_table(folder / "in.parquet")
            pq.write_table(table, folder / "in.parquet", row_group_size=rows)
        command = [
            *(sys.executable, "-m", "jobs.rerank", f"input.path={folder}/in.parquet"),
            *(f"output.path={folder}/out", "model.path=demo/model", f"plan.part_rows={rows}"),
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
        report = json.loads((folder / "out" / PREFLIGHT).read_text())["replicas"][0]
    found = {"driver": 0.0, "coordinator": 0.0, "workers": 0.0, "ray": 0.0}
    for who, spent in seconds.values():
        found[who] += spent
    return _Job(found, wall, report)


def _whose(process: Any, driver: int) -> str:
    if process.pid == driver:
        return "driver"
    title = " ".join(process.cmdline())
    if "Coordinator" in title and "Autoscaling" not in title:
        return "coordinator"
    return "workers" if "Map" in title or "ReadParts" in title or "IDLE" in title else "ray"


def _preflight_of(replicas: int, report: dict[str, Any]) -> dict[str, float]:
    """Processor seconds until all of the replicas may score, and seconds to write their reports."""
    scores = np.random.default_rng(0).normal(size=64)

    async def _admitted(coordinator: Coordinator) -> None:
        findings = []
        for index in range(replicas):
            node = f"node{index // 8}"
            origin = Origin(str(index), f"{node}:{index}", node, f"GPU {index % 8} of {node}")
            if await coordinator.load(origin) is not None:
                sys.exit(f"{origin} may not load")
            canaries = tuple(scores + index * 1e-7)
            findings.append(Finding(origin, "bfloat16", canaries, None, "", "", report))
        verdicts = await asyncio.gather(*map(coordinator.admit, findings))
        if any(verdict.action != "score" for verdict in verdicts):
            sys.exit("not all replicas may score")

    start = time.process_time()
    asyncio.run(_admitted(Coordinator(Fleet(replicas, replicas), agreement_enforced=True)))
    agreed = time.process_time() - start
    with tempfile.TemporaryDirectory() as name:
        start = time.monotonic()
        content = {"replicas": [{**report, "replica": str(index)} for index in range(replicas)]}
        Store(name).write(PREFLIGHT, json.dumps(content, indent=1).encode())
        written = time.monotonic() - start
    return {"agreement_seconds": round(agreed, 3), "record_seconds": round(written, 3)}


if __name__ == "__main__":
    main()
