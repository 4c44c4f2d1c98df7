"""How often two honest nights are taken for drift.

    python -m benchmarks.drift [--nights 100] [--queries 30]

A night is some queries of a corpus of docstrings, ten candidates each, which the demo's model
scores. Each is scored twice, in another order and in batches of another size, as two runs would:
plainly, so that the last bits differ, and with `score.reproducible`. Then the report's comparison
is made for pairs of runs of the same night, and for pairs of different nights, whose queries are
other ones. A pair is a false alarm if the scores are said to differ by more than chance, if the
report has a remark, or if a limit is exceeded.
"""

from __future__ import annotations

import argparse
import logging
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

from demo.corpus import HELD_OUT, first_stage, read_docs, sample_queries, write_shards
from reranker_core.config.loading import scoring_config
from reranker_core.config.sections.work import GuardConfig
from reranker_core.report.comparing import compare
from reranker_core.report.drift import Drift
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from reranker_core.storage.store import Store

CANDIDATES = 10
LIMITS = GuardConfig(max_drift=0.1, min_rank_correlation=0.9)
RUN: dict[str, Any] = {
    "fingerprint": {},
    "input": {"columns": {"query_id": "query_id", "doc_id": "doc_id"}, "shards": {}},
    "output": {"columns": {"score": "score"}},
}


def main() -> None:
    """Score all nights twice, compare pairs of them, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=100)
    parser.add_argument("--queries", type=int, default=30)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    corpus = _corpus(10 * options.queries)
    columns = ("scores", "pairs of nights", "beyond chance", "remarks", "over a limit")
    table = Table(*columns, "largest shift", "least rank correlation", "seconds")
    for reproducible in (False, True):
        with tempfile.TemporaryDirectory() as name:
            start = time.monotonic()
            stores = _nights(Path(name), corpus, options.nights, options.queries, reproducible)
            word = "reproducible" if reproducible else "plain"
            for kind, step in (("same queries", 0), ("other queries", 1)):
                found = [
                    _compared(stores[index][0], stores[(index + step) % len(stores)][1])
                    for index in range(len(stores))
                ]
                orders = [each.rank_correlation for each in found]
                table.add_row(
                    word,
                    f"{len(found)}, {kind}",
                    str(sum(each.is_shifted for each in found)),
                    str(sum(bool(each.remarks()) for each in found)),
                    str(sum(bool(each.exceeds(LIMITS)) for each in found)),
                    f"{max(each.distance or 0.0 for each in found):.6f}",
                    f"{min((order for order in orders if order is not None), default=np.nan):.6f}",
                    f"{time.monotonic() - start:.0f}",
                )
    Console(width=160).print(table)


def _corpus(queries: int) -> pa.Table:
    with tempfile.TemporaryDirectory() as folder:
        docs = read_docs(HELD_OUT)
        chosen = sample_queries(docs, queries)
        write_shards(docs, chosen, first_stage(docs, chosen, CANDIDATES), Path(folder))
        return ds.dataset(folder).to_table()


def _nights(
    folder: Path, corpus: pa.Table, nights: int, queries: int, reproducible: bool
) -> list[list[Store]]:
    """Two outputs of each night. The queries of a night and of the next one are different."""
    settings = {"model.path": "demo/model", "model.max_length": 64, "model.dtype": "float32"}
    settings |= {"score.reproducible": reproducible}
    sizes = (4096, 4096) if reproducible else (4096, 1024)
    scorers = [
        load_scorer(scoring_config({**settings, "score.max_batch_tokens": size})) for size in sizes
    ]
    random = np.random.default_rng(0)
    ids = corpus["query_id"].unique().to_numpy(zero_copy_only=False)
    found, chosen = [], ids[:0]
    for night in range(nights):
        chosen = random.choice(np.setdiff1d(ids, chosen), queries, replace=False)
        rows = corpus.filter(pa.compute.is_in(corpus["query_id"], pa.array(chosen)))
        found.append(
            [
                _output(folder / f"{night}-{run}", rows.take(random.permutation(len(rows))), scorer)
                for run, scorer in enumerate(scorers)
            ]
        )
    return found


def _output(folder: Path, rows: pa.Table, scorer: Scorer) -> Store:
    texts = list(zip(rows["query"].to_pylist(), rows["passage"].to_pylist(), strict=True))
    table = rows.select(["query_id", "doc_id"])
    folder.mkdir()
    pq.write_table(
        table.append_column("score", pa.array(scorer.score_pairs(texts))),
        folder / "s-0000000000-000000000000.parquet",
    )
    return Store(str(folder))


def _compared(earlier: Store, later: Store) -> Drift:
    return compare(earlier, later, (RUN, RUN), ({}, {}))


if __name__ == "__main__":
    main()
