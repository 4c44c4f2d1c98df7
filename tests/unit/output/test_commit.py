"""Committing parts, and what readers make of the files."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from reranker_core.config import OutputColumns, OutputConfig
from reranker_core.errors import OutputConflict, RerankError
from reranker_core.input.pairs import Status
from reranker_core.input.plan import Part
from reranker_core.input.schema import Field, InputSchema
from reranker_core.output.commit import (
    QUARANTINE,
    commit,
    data_name,
    quarantine_name,
    read_facts,
)
from reranker_core.output.receipts import Receipt, receipt_name
from reranker_core.output.results import ScoredPart
from reranker_core.storage.store import Store
from tests.outputs import sizes

PART = Part("a-0000000004-00ff", "in/a.parquet", "a.parquet", "etag", 4, 7, 3)
MEASURES = {
    "distinct": 2,
    "tokens": 40,
    "computed_tokens": 44,
    "special_tokens_in_text": 3,
    "seconds": 0.25,
    "waited": 0.5,
}
OUTPUT = OutputConfig(path="unused")


def schema(table: pa.Table, nested: bool = False) -> InputSchema:
    return InputSchema(
        nested=nested,
        query_id="query_id",
        query="query",
        doc_id=Field("doc_id"),
        passage=Field("passage"),
        columns=tuple(table.column_names),
        fields=tuple(table.schema),
        carried=tuple(table.column_names),
    )


def scored(scores: list[float | None], **columns: Any) -> ScoredPart:
    """A flat part; None is a pair that was not finite."""
    values = np.array([np.nan if score is None else score for score in scores], np.float32)
    status = np.where(np.isnan(values), Status.NOT_FINITE, Status.SCORED).astype(np.int8)
    numbers = range(len(scores))
    ids = {"query_id": [f"q{i}" for i in numbers], "doc_id": [f"d{i}" for i in numbers]}
    return ScoredPart(pa.table(ids | columns), None, status, values, rescued=0)


def committed(
    store: Store,
    scores: list[float | None],
    part: Part = PART,
    run: str = "run",
    measures: dict[str, Any] = MEASURES,
    **columns: Any,
) -> Receipt:
    result = scored(scores, **columns)
    return commit(store, part, result, schema(result.rows), OUTPUT, measures, run)


@pytest.fixture
def store(output_url: str) -> Store:
    return Store(output_url)


def test_a_part_is_its_data_and_its_receipt(store: Store):
    receipt = committed(store, [1.0, 2.0, 3.0])
    assert set(sizes(store)) == {data_name(PART.name), receipt_name(PART.name)}
    assert Receipt.from_json(store.read(receipt_name(PART.name))) == receipt


def test_the_data_are_the_table(store: Store):
    committed(store, [1.0, None, 3.0])
    found = pq.read_table(io.BytesIO(store.read(data_name(PART.name))))
    assert found["score"].to_pylist() == [1.0, None, 3.0]
    assert found["doc_id"].to_pylist() == ["d0", "d1", "d2"]


def test_the_receipt_counts_what_the_file_holds(store: Store):
    receipt = committed(store, [1.0, None, 3.0])
    assert (receipt.part, receipt.run, receipt.shard) == (PART.name, "run", PART.shard_name)
    assert (receipt.start, receipt.stop) == (4, 7)
    assert (receipt.rows, receipt.pairs, receipt.scored) == (3, 3, 2)
    assert receipt.quarantined == {"not_finite": 1}
    assert (receipt.distinct, receipt.tokens, receipt.seconds) == (2, 40, 0.25)
    assert (receipt.computed_tokens, receipt.waited) == (44, 0.5)


def test_the_receipt_knows_size_and_digest_of_the_file(store: Store):
    receipt = committed(store, [1.0, 2.0, 3.0])
    data = store.read(data_name(PART.name))
    assert receipt.size == len(data)
    assert receipt.sha256 == hashlib.sha256(data).hexdigest()


def test_a_receipt_survives_json(store: Store):
    receipt = committed(store, [1.0, None, 3.0])
    assert Receipt.from_json(receipt.to_json()) == receipt
    assert json.loads(receipt.to_json())["quarantined"] == {"not_finite": 1}


def content(store: Store) -> dict[str, bytes]:
    return {name: store.read(name) for name in sizes(store)}


def test_who_comes_second_changes_nothing(store: Store):
    first = committed(store, [1.0, None, 3.0])
    before = content(store)
    second = committed(store, [7.0, 8.0, None])
    assert second == first
    assert content(store) == before


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_what_an_attempt_left_unfinished_is_finished_as_it_was_begun(store: Store, kept: int):
    committed(store, [1.0, None, 3.0])
    whole = content(store)
    order = [data_name(PART.name), quarantine_name(PART.name), receipt_name(PART.name)]
    store.delete(*order[kept:])
    committed(store, [7.0, 8.0, None])
    assert content(store) == whole


def test_the_list_of_pairs_without_a_score_holds_no_credentials(tmp_path: Path):
    store = Store(str(tmp_path))
    committed(store, [None, 2.0, 3.0], replace(PART, shard="ftp://me:secret@host/in/a.parquet"))
    (record,) = map(json.loads, store.read(quarantine_name(PART.name)).splitlines())
    assert record["shard"] == "ftp://me:***@host/in/a.parquet"


def test_how_long_it_took_is_all_that_two_receipts_of_a_part_may_differ_in(store: Store):
    first = committed(store, [1.0, None, 3.0])
    second = committed(store, [7.0, 8.0, 9.0], measures=MEASURES | {"seconds": 9.0})
    assert replace(second, seconds=first.seconds) == first


def test_a_file_that_nobody_vouches_for_is_not_taken_for_a_part(store: Store):
    store.write(data_name(PART.name), b"PAR1")
    with pytest.raises(OutputConflict, match="something else"):
        committed(store, [1.0, 2.0, 3.0])
    assert receipt_name(PART.name) not in sizes(store)


def test_a_data_file_says_what_it_is(store: Store):
    receipt = committed(store, [1.0, None, 3.0])
    facts = read_facts(store.read(data_name(PART.name)))
    assert facts is not None
    assert asdict(facts).items() <= asdict(receipt).items()


def test_files_of_somebody_else_say_nothing():
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), sink)
    assert read_facts(sink.getvalue()) is None
    assert read_facts(b"") is None


def test_scores_that_contradict_their_status_are_never_written(store: Store):
    part = replace(scored([1.0, 2.0]), score=np.array([1.0, np.inf], np.float32))
    with np.errstate(invalid="ignore"), pytest.raises(RerankError, match="NaN or infinite"):
        commit(store, PART, part, schema(part.rows), OUTPUT, MEASURES, "run")
    assert sizes(store) == {}


def test_the_same_scores_give_the_same_bytes(tmp_path: Path):
    receipts = [committed(Store(str(tmp_path / name)), [1.0, None, 3.0]) for name in "ab"]
    assert receipts[0] == receipts[1]


def test_quarantined_pairs_are_a_line_each_with_their_shard(store: Store):
    committed(store, [1.0, None, None])
    lines = store.read(quarantine_name(PART.name)).decode().splitlines()
    shared = {"shard": PART.shard, "candidate": None, "reason": "not_finite"}
    assert [json.loads(line) for line in lines] == [
        shared | {"row": row, "query_id": f"q{row - 4}", "doc_id": f"d{row - 4}"} for row in (5, 6)
    ]


def test_no_quarantine_file_without_records(store: Store):
    committed(store, [1.0, 2.0, 3.0])
    assert sizes(store, QUARANTINE) == {}


def test_ids_that_json_does_not_know_are_text(store: Store):
    committed(
        store,
        [1.0, None],
        query_id=pa.array([b"", b"\x00\xff"]),
        doc_id=pa.array([Decimal("0.00"), Decimal("1.50")]),
    )
    (line,) = store.read(quarantine_name(PART.name)).decode().splitlines()
    found = json.loads(line)
    assert (found["query_id"], found["doc_id"]) == ("00ff", "1.50")


def nested_part(status: list[Status]) -> ScoredPart:
    rows = pa.table({"query_id": ["a", "b"], "doc_id": [["x", "y"], ["z"]]})
    values = np.where(np.array(status) == Status.SCORED, 1.0, np.nan).astype(np.float32)
    return ScoredPart(rows, np.array([2, 1]), np.array(status, np.int8), values, 1)


def test_nested_pairs_are_counted_apart_from_rows(store: Store):
    part = nested_part([Status.SCORED, Status.NULL_PASSAGE, Status.SCORED])
    receipt = commit(store, PART, part, schema(part.rows, True), OUTPUT, MEASURES, "run")
    assert (receipt.rows, receipt.pairs, receipt.scored, receipt.rescued) == (2, 3, 2, 1)
    assert receipt.quarantined == {"null_passage": 1}


def test_who_comes_second_lists_the_nested_pairs_of_the_first(store: Store):
    output = OutputConfig(path="unused", columns=OutputColumns(status="how"))
    first = nested_part([Status.SCORED, Status.NULL_PASSAGE, Status.SCORED])
    commit(store, PART, first, schema(first.rows, True), output, MEASURES, "run")
    before = content(store)
    store.delete(quarantine_name(PART.name), receipt_name(PART.name))
    second = nested_part([Status.NOT_FINITE, Status.SCORED, Status.SCORED])
    commit(store, PART, second, schema(second.rows, True), output, MEASURES, "run")
    assert content(store) == before


def test_a_part_without_scores_has_no_description(store: Store):
    assert committed(store, [None, None, None]).scores == {}


def test_quarantined_pairs_are_not_in_the_description(store: Store):
    assert committed(store, [1.0, None, 3.0]).scores["mean"] == 2


@pytest.fixture
def whole(tmp_path: Path) -> Store:
    """Three parts with every companion that a run leaves."""
    store = Store(str(tmp_path / "out"))
    for number, scores in enumerate([[1.0, 2.0], [None, 4.0], [5.0]]):
        part = Part(f"p{number}", "in/a.parquet", "a", "etag", 0, len(scores), len(scores))
        committed(store, scores, part)
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
    committed(store, [1.0, 2.0], run="one")
    with pytest.raises(OutputConflict, match="run one"):
        committed(store, [1.5, 2.0], run="other")
