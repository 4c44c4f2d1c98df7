"""The demo: build query-candidate shards, run the main job on them, show what changed.

    python -m demo.run [--queries N] [--two-nights] [section.field=value ...]

With --two-nights, the job runs again on shards in another order, of which few texts have changed,
and takes the other scores from the first output.
Overrides are handed on to the job, so `model.path=…` reranks with another model.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from demo.corpus import HELD_OUT, first_stage, read_docs, sample_queries, write_qrels, write_shards
from demo.metrics import relevant_ranks
from reranker_core.command.console import make_console

FOLDER = Path("out/demo")
INPUT, QRELS, SCORES = FOLDER / "input", FOLDER / "qrels.parquet", FOLDER / "scores"
QUERIES = 300
CANDIDATES = 50
NEXT_INPUT, NEXT_SCORES = FOLDER / "next/input", FOLDER / "next/scores"
# Beside this Python, as a user types it.
_COMMAND = os.path.relpath(Path(sys.executable).parent / "batch-reranker")
_SHOWN = 5
_CHANGED = 50  # every so many passages
_NEXT_SHARDS = 3


def main() -> int:
    """Run the three steps; the job's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--two-nights", action="store_true")
    options, overrides = parser.parse_known_args()
    console = make_console()
    console.print("[bold]1. Shards from the docstrings of installed packages")
    _build_input(console, options.queries)
    console.print("[bold]2. The job")
    code = _run_job(console, overrides)
    if code == 0:
        console.print("[bold]3. What changed")
        _show_results(console)
    if code == 0 and options.two_nights:
        console.print("[bold]4. The next night")
        _write_next_input(console)
        paths = [f"input.path={NEXT_INPUT}", f"output.path={NEXT_SCORES}"]
        code = _run_job(console, [*overrides, *paths, f"reuse.from={SCORES}"])
    return code


def _run_job(console: Console, overrides: list[str]) -> int:
    command = [_COMMAND, "run", "--config", "configs/demo.yaml", *overrides]
    console.print(" ".join(command), style="dim")
    return subprocess.run(command, check=False).returncode


def _write_next_input(console: Console) -> None:
    """The pairs in other shards and another order; some passages have changed."""
    rows = ds.dataset(INPUT).to_table().to_pandas()
    queries = np.random.default_rng(0).permutation(rows["query_id"].unique())
    rows = rows.set_index("query_id").loc[queries].reset_index()
    changed = rows.index % _CHANGED == 0
    rows.loc[changed, "passage"] += " (changed)"
    NEXT_INPUT.mkdir(parents=True)
    for number, some in enumerate(np.array_split(queries, _NEXT_SHARDS)):
        rows[rows["query_id"].isin(some)].to_parquet(NEXT_INPUT / f"night-{number}.parquet")
    console.print(
        f"{len(rows):,} pairs in {_NEXT_SHARDS} other shards, of which {changed.sum():,} have a "
        f"changed passage, in {NEXT_INPUT}"
    )


def _build_input(console: Console, count: int) -> None:
    # The demo scores afresh each time; a job of one's own would resume instead.
    shutil.rmtree(FOLDER, ignore_errors=True)
    docs = read_docs(HELD_OUT)
    queries = sample_queries(docs, count)
    write_shards(docs, queries, first_stage(docs, queries, CANDIDATES), INPUT)
    write_qrels(queries, QRELS)
    console.print(
        f"{len(queries)} queries (first sentences) over {len(docs):,} passages (the rest) of "
        f"{', '.join(HELD_OUT)}; BM25 gave {CANDIDATES} candidates per query, in {INPUT}\n"
    )


def _show_results(console: Console) -> None:
    scored = ds.dataset(SCORES).to_table().to_pandas()
    # The job does not repeat texts; they are in the input, row for row.
    texts = ds.dataset(INPUT).to_table(columns=["query", "passage"]).to_pandas()
    rows = scored.join(texts)
    relevant = dict(zip(*pq.read_table(QRELS).to_pydict().values(), strict=True))
    rows["relevant"] = rows["doc_id"] == rows["query_id"].map(relevant)

    by_query = [group for _, group in rows.groupby("query_id", sort=False)]
    hits = np.stack([_column(group, "relevant", False) for group in by_query])
    before = relevant_ranks(np.stack([_column(g, "bm25_score") for g in by_query]), hits)
    after = relevant_ranks(np.stack([_column(g, "score") for g in by_query]), hits)

    # Of the queries that now have the relevant passage first, the one that gained most.
    gains = np.where(after == 1, before, 0)
    _show_query(by_query[int(gains.argmax())], console)
    command = [_COMMAND, "evaluate", str(SCORES), "--qrels", str(QRELS)]
    command += ["--first-stage", "bm25_score"]
    console.print(" ".join(command), style="dim")
    subprocess.run(command, check=True)
    console.print(f"The page about the run is {SCORES / '_report.html'}")


def _column(group: pd.DataFrame, name: str, missing: float = -np.inf) -> np.ndarray:
    """One query's values, shape (CANDIDATES,); BM25 may have found fewer."""
    values = group[name].to_numpy()
    return np.concatenate([values, np.full(CANDIDATES - len(values), missing, values.dtype)])


def _show_query(group: pd.DataFrame, console: Console) -> None:
    """The best candidates of one query, by BM25 and by the model."""
    query = group["query"].iloc[0]
    table = Table("", "before: BM25", "after: reranked", title=f"“{query}”", title_justify="left")
    orders = [group.sort_values(name, ascending=False) for name in ("bm25_score", "score")]
    for place in range(_SHOWN):
        cells = [_cell(order.iloc[place]) for order in orders]
        table.add_row(str(place + 1), *cells)
    console.print(table)


def _cell(row: pd.Series) -> str:
    name = row["doc_id"].partition(":")[2] or row["doc_id"]
    return f"[green bold]{name} ← relevant[/]" if row["relevant"] else name


if __name__ == "__main__":
    sys.exit(main())
