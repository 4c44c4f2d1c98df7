"""Committing parts, and what readers make of the files."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from reranker_core.commit import (
    QUARANTINE,
    Receipt,
    commit,
    data_name,
    describe_scores,
    receipt_name,
)
from reranker_core.errors import OutputConflict
from reranker_core.pairs import Status
from reranker_core.plan import Part
from reranker_core.results import ScoredPart
from reranker_core.storage import Store

PART = Part("a-0000000004-00ff", "in/a.parquet", "etag", 4, 7, 3)
MEASURES = {"distinct": 2, "tokens": 40, "seconds": 0.25}


def scored(scores: list[float | None], rescued: int = 0) -> ScoredPart:
    """A flat part; None is a pair that was not finite."""
    values = np.array([np.nan if score is None else score for score in scores], np.float32)
    status = np.where(np.isnan(values), Status.NOT_FINITE, Status.SCORED).astype(np.int8)
    rows = pa.table({"doc_id": [f"d{i}" for i in range(len(scores))]})
    return ScoredPart(rows, None, status, values, rescued)


def committed(
    store: Store,
    scores: list[float | None],
    part: Part = PART,
    records: list[dict[str, Any]] | None = None,
) -> Receipt:
    result = scored(scores)
    table = result.rows.append_column("score", pa.array(result.score, mask=np.isnan(result.score)))
    return commit(store, part, result, table, records or [], MEASURES, "run")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"))


def test_a_part_is_its_data_and_its_receipt(store: Store):
    receipt = committed(store, [1.0, 2.0, 3.0])
    assert set(store.sizes()) == {data_name(PART.name), receipt_name(PART.name)}
    assert Receipt.from_json(store.read(receipt_name(PART.name))) == receipt


def test_the_data_are_the_table(store: Store):
    committed(store, [1.0, None, 3.0])
    found = pq.read_table(store.path(data_name(PART.name)))
    assert found["score"].to_pylist() == [1.0, None, 3.0]
    assert found["doc_id"].to_pylist() == ["d0", "d1", "d2"]


def test_the_receipt_counts_what_the_file_holds(store: Store):
    receipt = committed(store, [1.0, None, 3.0])
    assert (receipt.part, receipt.run, receipt.shard) == (PART.name, "run", PART.shard)
    assert (receipt.start, receipt.stop) == (4, 7)
    assert (receipt.rows, receipt.pairs, receipt.scored) == (3, 3, 2)
    assert receipt.quarantined == {"not_finite": 1}
    assert (receipt.distinct, receipt.tokens, receipt.seconds) == (2, 40, 0.25)


def test_the_receipt_knows_size_and_digest_of_the_file(store: Store):
    receipt = committed(store, [1.0, 2.0, 3.0])
    data = store.read(data_name(PART.name))
    assert receipt.size == len(data)
    assert receipt.sha256 == hashlib.sha256(data).hexdigest()


def test_a_receipt_survives_json(store: Store):
    receipt = committed(store, [1.0, None, 3.0])
    assert Receipt.from_json(receipt.to_json()) == receipt
    assert json.loads(receipt.to_json())["quarantined"] == {"not_finite": 1}


def test_who_comes_second_changes_nothing(store: Store):
    first = committed(store, [1.0, 2.0, 3.0])
    before = {name: store.read(name) for name in store.sizes()}
    second = committed(store, [7.0, None, 9.0], records=[{"row": 5}])
    assert second == first
    assert {name: store.read(name) for name in store.sizes()} == before


def test_a_part_whose_receipt_was_never_written_is_written_anew(store: Store):
    store.write(data_name(PART.name), b"what a killed attempt left")
    receipt = committed(store, [1.0, 2.0, 3.0])
    assert store.sizes()[data_name(PART.name)] == receipt.size
    assert pq.read_table(store.path(data_name(PART.name))).num_rows == 3


def test_the_same_scores_give_the_same_bytes(tmp_path: Path):
    receipts = [committed(Store(str(tmp_path / name)), [1.0, None, 3.0]) for name in "ab"]
    assert receipts[0] == receipts[1]


def test_quarantined_pairs_are_a_line_each_with_their_shard(store: Store):
    records = [{"row": 5, "reason": "not_finite"}, {"row": 6, "reason": "null_query"}]
    committed(store, [1.0, None, None], records=records)
    lines = store.read(f"{QUARANTINE}/{PART.name}.jsonl").decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"shard": PART.shard, **record} for record in records
    ]


def test_no_quarantine_file_without_records(store: Store):
    committed(store, [1.0, 2.0, 3.0])
    assert store.sizes(QUARANTINE) == {}


def test_ids_that_json_does_not_know_are_text(store: Store):
    ids = {"query_id": b"\x00\xff", "doc_id": Decimal("1.50"), "day": date(2026, 1, 31)}
    committed(store, [1.0, None, 3.0], records=[ids])
    (line,) = store.read(f"{QUARANTINE}/{PART.name}.jsonl").decode().splitlines()
    found = json.loads(line)
    assert (found["query_id"], found["doc_id"], found["day"]) == ("00ff", "1.50", "2026-01-31")


def test_nested_pairs_are_counted_apart_from_rows(store: Store):
    status = np.array([Status.SCORED, Status.NULL_PASSAGE, Status.SCORED], np.int8)
    values = np.array([1, np.nan, 2], np.float32)
    part = ScoredPart(pa.table({"query_id": ["a", "b"]}), np.array([2, 1]), status, values, 1)
    receipt = commit(store, PART, part, part.rows, [], MEASURES, "run")
    assert (receipt.rows, receipt.pairs, receipt.scored, receipt.rescued) == (2, 3, 2, 1)
    assert receipt.quarantined == {"null_passage": 1}


def test_scores_are_described():
    found = describe_scores(np.array([0, 1, 2, 3, 4], np.float32))
    assert (found["min"], found["p25"], found["p50"], found["max"]) == (0, 1, 2, 4)
    assert (found["mean"], found["tied"]) == (2, 0)


def test_tied_scores_are_told():
    assert describe_scores(np.array([1, 1, 1, 1], np.float32))["tied"] == 0.75


def test_no_scores_have_no_description(store: Store):
    assert describe_scores(np.array([], np.float32)) == {}
    assert committed(store, [None, None, None]).scores == {}


def test_quarantined_pairs_are_not_in_the_description(store: Store):
    assert committed(store, [1.0, None, 3.0]).scores["mean"] == 2


@pytest.fixture
def whole(store: Store) -> Store:
    """Three parts with every companion that a run leaves."""
    for number, scores in enumerate([[1.0, 2.0], [None, 4.0], [5.0]]):
        part = Part(f"p{number}", "in/a.parquet", "etag", 0, len(scores), len(scores))
        records = [{"row": 0}] if None in scores else []
        committed(store, scores, part, records)
    for name in ("_run.json", "_preflight.json", "_manifest.json", "_SUCCESS"):
        store.write(name, b"{}")
    return store


SCORES = [1.0, 2.0, 4.0, 5.0, None]


def in_order(scores: list[float | None]) -> list[float | None]:
    return sorted(scores, key=lambda score: (score is None, score))


def test_pyarrow_reads_the_output_as_one_data_set(whole: Store):
    found = pyarrow.dataset.dataset(whole.root, format="parquet").to_table()
    assert in_order(found["score"].to_pylist()) == SCORES


def test_pyarrow_reads_the_folder_as_one_table(whole: Store):
    assert in_order(pq.read_table(whole.root)["score"].to_pylist()) == SCORES


def test_polars_reads_the_output_as_one_data_set(whole: Store):
    polars = pytest.importorskip("polars")
    found = polars.scan_parquet(f"{whole.root}/*.parquet").collect()
    assert in_order(found["score"].to_list()) == SCORES


def test_duckdb_reads_the_output_as_one_data_set(whole: Store):
    duckdb = pytest.importorskip("duckdb")
    rows = duckdb.sql(f"select score from '{whole.root}/*.parquet'").fetchall()
    assert in_order([score for (score,) in rows]) == SCORES


def test_a_part_of_another_run_is_never_taken_for_ones_own(store: Store):
    part = scored([1.0, 2.0])
    commit(store, PART, part, part.rows, [], MEASURES, "one")
    with pytest.raises(OutputConflict, match="run one"):
        commit(store, PART, part, part.rows, [], MEASURES, "other")
