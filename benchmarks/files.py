"""What the plan of an input of very many small files costs: time and memory before a run starts.

    python -m benchmarks.files [--files 100000]

Each file has 20 rows. They are written to a temporary folder, and lie in the page cache then.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.environment import describe
from reranker_core.input.plan import make_plan
from tests.tables import config, flat, write

ROWS = 20
FILES_OF_FOLDER = 1000


def main() -> None:
    """Write the files, plan a run over them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=100_000)
    count = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder:
        data = write(Path(folder) / "one.parquet", flat(ROWS)).read_bytes()
        for number in range(count):
            path = Path(folder) / "in" / str(number // FILES_OF_FOLDER) / f"{number}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        process = psutil.Process()
        before, start, work = process.memory_info().rss, time.monotonic(), time.process_time()
        plan = make_plan(config(Path(folder) / "in", Path(folder) / "out"))
        print(
            f"{describe()['cpu']}: {count:,} files, {len(plan.parts):,} parts: "
            f"{time.monotonic() - start:.1f} s ({time.process_time() - work:.1f} s of CPU), "
            f"{(process.memory_info().rss - before) >> 20} MiB"
        )


if __name__ == "__main__":
    main()
