"""What an output of very many parts costs the driver: resume and proof against a real S3 server.

    python -m benchmarks.parts [--parts 100000]

Data files are a few bytes, receipts are gathered as a run leaves them; both only need what the
listing and the receipts say. The files are put there by the server's own protocol, which takes them
faster than S3's. Prints requests, seconds, and what the driver's memory grew by.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.environment import describe
from reranker_core.input.plan import Part, Plan
from reranker_core.output.identity import digest
from reranker_core.output.inventory import outstanding
from reranker_core.output.proof import prove
from reranker_core.output.receipts import BATCH, Receipt
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store
from tests.servers import BUCKET, clients_of, seaweedfs

ROWS = 8192
PARTS_OF_SHARD = 100
DATA = b"stands for a part"


class Counting(Store):
    """A store that counts its requests."""

    requests = 0

    def _try(self, name: str, operation: Callable[[], Any], size: int | None = 0) -> Any:
        self.requests += 1
        return super()._try(name, operation, size)


def main() -> None:
    """Fill an output, resume it, prove it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", type=int, default=100_000)
    count = parser.parse_args().parts
    table = Table(title=f"{count:,} parts; {describe()['cpu']}")
    for column in ("step", "requests", "seconds", "MiB more"):
        table.add_column(column, justify="left" if column == "step" else "right")
    with (
        tempfile.TemporaryDirectory() as folder,
        seaweedfs(Path(folder)) as server,
        clients_of(server.endpoint),
    ):
        store = Counting(f"s3://{BUCKET}/parts")
        run = _identity(count)
        measured(table, "plan in memory", store, lambda: _plan(count))
        plan = _plan(count)
        measured(table, "(fill)", store, lambda: _fill(store, plan, digest(run), server.filer_port))
        measured(table, "resume", store, lambda: _resume(store, plan, digest(run)))
        measured(table, "proof", store, lambda: prove(store, run, read_all=False))
    Console().print(table)


def measured(table: Table, step: str, store: Counting, work: Callable[[], object]) -> None:
    """Run `work` and add a row."""
    print(f"{step} …", flush=True)
    process = psutil.Process(os.getpid())
    memory, requests, start = process.memory_info().rss, store.requests, time.monotonic()
    result = work()
    grown = (process.memory_info().rss - memory) / (1 << 20)
    seconds = time.monotonic() - start
    del result
    table.add_row(step, f"{store.requests - requests:,}", f"{seconds:,.1f}", f"{grown:,.0f}")


def _identity(count: int) -> dict[str, Any]:
    shards = {
        f"{first // PARTS_OF_SHARD:08d}.parquet": {
            "rows": ROWS * min(PARTS_OF_SHARD, count - first),
            "size": 1 << 30,
            "etag": "0" * 32,
        }
        for first in range(0, count, PARTS_OF_SHARD)
    }
    return {
        "fingerprint": {"normalize": "none"},
        "input": {"layout": "flat", "columns": {"query_id": "query_id"}, "shards": shards},
        "output": {"columns": {}, "rank": False},
    }


def _plan(count: int) -> Plan:
    parts = []
    for number in range(count):
        shard, within = divmod(number, PARTS_OF_SHARD)
        name, start = f"{shard:08d}.parquet", within * ROWS
        mark = hashlib.sha256(f"{name}{start}".encode()).hexdigest()[:12]
        parts.append(
            Part(
                name=f"{shard:08d}-{start:010d}-{mark}",
                shard=f"s3://corpus/{name}",
                shard_name=name,
                etag="0" * 32,
                start=start,
                stop=start + ROWS,
                pairs=ROWS,
            )
        )
    return Plan(None, (), tuple(parts))  # type: ignore[arg-type]  # only its parts are looked at


def _fill(store: Store, plan: Plan, run: str, port: int) -> None:
    def put(parts: tuple[Part, ...]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for part in parts:
            connection.request("PUT", f"/buckets/{BUCKET}/parts/{part.name}.parquet", DATA)
            connection.getresponse().read()

    chunks = (plan.parts[first : first + BATCH] for first in range(0, len(plan.parts), BATCH))
    for _ in in_parallel(put, chunks, threads=4):
        pass
    for first in range(0, len(plan.parts), BATCH):
        lines = [_receipt(part, run).to_json() for part in plan.parts[first : first + BATCH]]
        store.write(f"_receipts/batch-{first:08d}.jsonl", b"\n".join(lines))


def _receipt(part: Part, run: str) -> Receipt:
    names = ("min", "p05", "p25", "p50", "p75", "p95", "max", "mean", "tied")
    return Receipt(
        part=part.name,
        run=run,
        shard=part.shard_name,
        etag=part.etag,
        start=part.start,
        stop=part.stop,
        rows=ROWS,
        pairs=ROWS,
        scored=ROWS,
        quarantined={},
        rescued=0,
        distinct=ROWS,
        tokens=ROWS * 100,
        scores=dict.fromkeys(names, 0.123456),
        size=len(DATA),
        sha256=hashlib.sha256(DATA).hexdigest(),
        md5=hashlib.md5(DATA).hexdigest(),
        computed_tokens=ROWS * 101,
        seconds=1.5,
        waited=0.1,
    )


def _resume(store: Store, plan: Plan, run: str) -> None:
    left = outstanding(store, plan, run)
    assert not left.todo
    assert not left.discard


if __name__ == "__main__":
    main()
