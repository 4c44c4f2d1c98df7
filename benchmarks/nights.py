"""Two nights as whole jobs: the second one with and without the scores of the first one.

    python -m benchmarks.nights [--model demo|minilm] [--pairs 1000000] [--known 0.95] [--within]
        [--short] [--once] [--dtype float32|auto]

The second night has the pairs of the first one in other shards and another order. Some of its
passages have changed. It runs twice: all pairs are scored, and only the changed ones. A job's time
is the whole process, from the start of Python to `_SUCCESS`. Texts are short for the demo's model
(the costs around the model show most), and docstrings for MiniLM-L6's shape, unless --short is set.
With --once, the second night does not score all pairs: the first night, which has as many, stands
for that. Then the scores of the known pairs are compared with those of the first night.
--dtype is the job's `model.dtype`.
With --within there is one night, in which two shards have the same pairs, with and without
`reuse.within`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.environment import describe
from benchmarks.memory import WORDS
from benchmarks.pairs import CANDIDATES, pairs_of_docstrings
from benchmarks.random_checkpoints import random_head

SHARDS = 7
ROW_GROUP = 100_000
_SEED = 0


def main() -> None:
    """Run the three jobs, compare scores, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["demo", "minilm"], default="demo")
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--known", type=float, default=0.95)
    parser.add_argument("--within", action="store_true")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        is_demo = options.model == "demo"
        path = Path("demo/model") if is_demo else random_head(folder / "model")
        model = [f"model.path={path}", f"model.dtype={options.dtype}"]
        if not is_demo:
            model.append("preflight.checks.meaning=off")  # its head is random
        make_rows = short_rows if is_demo or options.short else docstring_rows
        rows = make_rows(options.pairs)
        if options.within:
            changed, jobs, scores = _within(rows, folder, model)
        else:
            changed, jobs, scores = _nights(rows, folder, options.known, model, options.once)
    plain, reused = list(jobs)[-2:]
    difference = np.abs(scores[0] - scores[1])
    result = {
        "benchmark": "within" if options.within else "nights",
        "model": options.model,
        "dtype": options.dtype,
        "texts": make_rows.__name__.removesuffix("_rows"),
        "pairs": len(rows) * (2 if options.within else 1),
        "compared": len(difference),
        "new": changed,
        "jobs": jobs,
        "times_faster": round(jobs[plain]["seconds"] / jobs[reused]["seconds"], 2),
        "max_score_difference": float(difference.max()),
        "load_after": [round(value, 1) for value in os.getloadavg()],
        **describe(),
    }
    _print(result)
    if not difference.max() < 1e-3:
        sys.exit(f"scores differ by {difference.max()}")


Measured = tuple[int, dict[str, dict[str, Any]], list[np.ndarray]]


def _nights(rows: pa.Table, folder: Path, known: float, model: list[str], once: bool) -> Measured:
    """Number of new pairs, the jobs, and the scores of the last two."""
    changed = write_nights(rows, folder, known)
    jobs = {"first night": _job(folder, "first", "one", model)}
    if not once:
        jobs["second night"] = _job(folder, "second", "two", model)
    jobs["second night, reuse.from"] = _job(
        folder, "second", "reused", model, f"reuse.from={folder}/one"
    )
    compared = ~changed if once else np.full(len(rows), True)
    names = ("one" if once else "two", "reused")
    return int(changed.sum()), jobs, [_scores(folder / name)[compared] for name in names]


def _within(rows: pa.Table, folder: Path, model: list[str]) -> Measured:
    """As `_nights`."""
    ids = rows.column_names.index("doc_id")
    others = rows.set_column(ids, "doc_id", pa.array(np.arange(len(rows), 2 * len(rows))))
    _write(folder / "in", pa.concat_tables([rows, others]), 2)
    jobs = {
        "without": _job(folder, "in", "plain", model),
        "reuse.within": _job(folder, "in", "within", model, "reuse.within=true"),
    }
    return len(rows), jobs, [_scores(folder / name) for name in ("plain", "within")]


def short_rows(count: int) -> pa.Table:
    """Made-up pairs of some twenty tokens, all different."""
    words = np.random.default_rng(_SEED).choice(WORDS, (count, 8))
    passages = [f"{' '.join(row)} {number}" for number, row in enumerate(words)]
    queries = [f"query {number // CANDIDATES} of words" for number in range(count)]
    return _rows(queries, passages)


def docstring_rows(count: int) -> pa.Table:
    """Docstrings with their natural lengths."""
    queries, passages = zip(*pairs_of_docstrings(count), strict=True)
    return _rows(list(queries), list(passages))


def _rows(queries: list[str], passages: list[str]) -> pa.Table:
    ids = np.arange(len(queries))
    return pa.table(
        {"query_id": ids // CANDIDATES, "query": queries, "doc_id": ids, "passage": passages}
    )


def write_nights(rows: pa.Table, folder: Path, known: float) -> np.ndarray:
    """Write both nights, and return which pairs of the second one are new, by their doc_id."""
    _write(folder / "first", rows, 1)
    random = np.random.default_rng(_SEED)
    changed = random.random(len(rows)) >= known
    passages = [
        f"{text} (changed)" if is_changed else text
        for text, is_changed in zip(rows["passage"].to_pylist(), changed, strict=True)
    ]
    rows = rows.set_column(rows.column_names.index("passage"), "passage", pa.array(passages))
    queries = rows["query_id"].to_numpy()
    order = np.argsort(random.permutation(queries.max() + 1)[queries], kind="stable")
    _write(folder / "second", rows.take(order), SHARDS)
    return changed


def _write(folder: Path, rows: pa.Table, shards: int) -> None:
    folder.mkdir()
    each = -(-len(rows) // shards)
    for number in range(shards):
        pq.write_table(
            rows.slice(number * each, each),
            folder / f"{folder.name}-{number}.parquet",
            row_group_size=ROW_GROUP,
        )


def _job(folder: Path, source: str, output: str, model: list[str], *more: str) -> dict[str, Any]:
    """Seconds of the whole process, and what its manifest says."""
    settings = [f"input.path={folder / source}", f"output.path={folder / output}"]
    settings += [*model, "ray.address=local", *more]
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "jobs.rerank", *settings], check=True)
    seconds = time.monotonic() - start
    manifest = json.loads((folder / output / "_manifest.json").read_text())
    reuse = manifest.get("reuse") or {}
    return {
        "seconds": round(seconds, 1),
        "forwarded": manifest["distinct_pairs"],
        "scoring_seconds": manifest["scoring_seconds"],
        "reused": reuse.get("pairs", 0),
        "checked": reuse.get("checked", 0),
        "scored_first": reuse.get("shared_pairs_scored", 0),
    }


def _scores(output: Path) -> np.ndarray:
    """In the order of the ids of the passages."""
    table = ds.dataset(output).to_table(columns=["doc_id", "score"])
    return table.sort_by("doc_id")["score"].to_numpy()


def _lines(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, job in result["jobs"].items():
        rate = result["pairs"] / job["seconds"]
        forwarded, reused = f"{job['forwarded']:,}", f"{job['reused']:,}"
        yield name, f"{job['seconds']:,.1f}", f"{rate:,.0f}", forwarded, reused


def _print(result: dict[str, Any]) -> None:
    title = f"{result['pairs']:,} pairs, {result['new']:,} of them new; {result['model']}"
    table = Table("", "seconds", "pairs/s", "scored", "used again", title=title)
    for line in _lines(result):
        table.add_row(*line)
    Console().print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
