"""How often two honest nights are told of as drift.

    python -m benchmarks.drift [--pairs 2000] [--nights 100]

Scores the same docstring pairs with the demo's model in batches of two sizes, so the scores of the
two runs differ in their last bits, as those of two nights do. Then makes pairs of nights of them:
the same queries in both (two runs of one input), and different queries (the input of another day).
A pair is a false alarm if its scores are beyond chance, or if the report has a remark.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from demo.corpus import HELD_OUT, first_stage, read_docs, sample_queries, write_shards
from reranker_core.config.loading import scoring_config
from reranker_core.report.drift import Drift, compare
from reranker_core.score.scorer import Scorer
from reranker_core.storage.store import Store

CANDIDATES = 20
RUN: dict[str, Any] = {
    "fingerprint": {},
    "input": {"columns": {"query_id": "query_id", "doc_id": "doc_id"}, "shards": {}},
    "output": {"columns": {"score": "score"}},
}


def main() -> None:
    """Score twice, compare pairs of nights, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--nights", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = _scored(Path(name), options.pairs)
        table = Table("nights", "pairs of nights", "beyond chance", "remarks", "largest shift")
        for kind in ("same queries", "other queries"):
            found = [_night(Path(name), rows, kind, seed) for seed in range(options.nights)]
            table.add_row(
                kind,
                str(len(found)),
                str(sum(each.is_shifted for each in found)),
                str(sum(bool(each.remarks()) for each in found)),
                f"{max(each.distance or 0 for each in found):.5f}",
            )
    Console().print(table)


def _scored(folder: Path, pairs: int) -> pa.Table:
    """Ids, and the scores `one` and `two` of two runs."""
    docs = read_docs(HELD_OUT)
    queries = sample_queries(docs, pairs // CANDIDATES)
    write_shards(docs, queries, first_stage(docs, queries, CANDIDATES), folder / "in")
    rows = ds.dataset(folder / "in").to_table()
    texts = list(zip(rows["query"].to_pylist(), rows["passage"].to_pylist(), strict=True))
    for run, tokens in (("one", 16_384), ("two", 2048)):
        config = scoring_config({"model.path": "demo/model", "score.max_batch_tokens": tokens})
        rows = rows.append_column(run, pa.array(Scorer.load(config).score_pairs(texts)))
    return rows.select(["query_id", "doc_id", "one", "two"])


def _night(folder: Path, rows: pa.Table, kind: str, seed: int) -> Drift:
    """Two nights of half the queries each, compared."""
    random = np.random.default_rng(seed)
    queries = random.permutation(rows["query_id"].unique().to_pylist())
    half = len(queries) // 2
    chosen = (queries[:half], queries[:half] if kind == "same queries" else queries[half:])
    stores = []
    for run, ids in zip(("one", "two"), chosen, strict=True):
        mask = pa.compute.is_in(rows["query_id"], pa.array(ids))
        night = rows.filter(mask).select(["query_id", "doc_id", run])
        (folder / run).mkdir(exist_ok=True)
        pq.write_table(
            night.rename_columns(["query_id", "doc_id", "score"]),
            folder / run / "s-0000000000-000000000000.parquet",
        )
        stores.append(Store(str(folder / run)))
    return compare(stores[0], stores[1], (RUN, RUN), ({}, {}))


if __name__ == "__main__":
    main()
