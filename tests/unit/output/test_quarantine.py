"""Records of pairs without a score: row, ids and reason, never text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from reranker_core.input.pairs import Status
from tests.scored import NAN, Job
from tests.tables import STRUCT_COLUMNS, flat, nested, structs


def test_nothing_is_quarantined_when_all_have_scores(bert: Path):
    assert Job(bert).quarantined(flat(4)) == []


def test_flat_records_say_row_ids_and_reason(bert: Path):
    table = flat(4, passage=["a", None, "b", "c"])
    assert Job(bert).quarantined(table, [1, 2, NAN], first_row=100) == [
        {"row": 101, "candidate": None, "query_id": "q0", "doc_id": "d1", "reason": "null_passage"},
        {"row": 103, "candidate": None, "query_id": "q1", "doc_id": "d3", "reason": "not_finite"},
    ]


@pytest.mark.parametrize("layout", ["lists", "structs"])
def test_nested_records_say_which_candidate(bert: Path, layout: str):
    job = Job(bert, *(STRUCT_COLUMNS if layout == "structs" else ()))
    table = structs([2, 1]) if layout == "structs" else nested([2, 1])
    (record,) = job.quarantined(table, [1, NAN, 3], first_row=10)
    assert record == {
        "row": 10,
        "candidate": 1,
        "query_id": "q0",
        "doc_id": "d0.1",
        "reason": "not_finite",
    }


def test_records_of_lists_that_differ_in_length_name_the_ids_there_are(bert: Path):
    table = nested([1], passage=[["x", "y"]])
    found = Job(bert).quarantined(table)
    assert [record["doc_id"] for record in found] == ["d0.0", None]
    assert {record["reason"] for record in found} == {"misaligned_candidates"}


def test_records_hold_no_text(bert: Path):
    table = flat(2, query=["secret words", None], passage=[None, "secret passage"])
    assert "secret" not in str(Job(bert).quarantined(table))


def test_records_of_struct_candidates_hold_no_text_even_when_the_output_does(bert: Path):
    table = structs([2])
    found = Job(bert, *STRUCT_COLUMNS, "output.text=true").quarantined(table, [NAN, 1])
    assert "passage 0" not in str(found)


def test_invalid_utf8_is_quarantined_and_not_repeated(bert: Path):
    bad = pa.array([b"fine", b"\xff\xfe broken"]).view(pa.string())
    found = Job(bert).quarantined(flat(2, passage=bad))
    assert [record["reason"] for record in found] == ["invalid_utf8"]


@pytest.mark.parametrize("column", ["query_id", "doc_id"])
def test_ids_that_are_no_utf8_do_not_stop_the_quarantine(bert: Path, column: str):
    bad = pa.array([b"fine", b"\xff\xfe broken"]).view(pa.string())
    found = Job(bert).quarantined(flat(2, passage=["x", None], **{column: bad}))
    assert [record["row"] for record in found] == [1]


def test_a_query_id_that_is_the_query_itself_can_be_quarantined(bert: Path):
    job = Job(bert, "input.columns.query_id=query")
    assert len(job.quarantined(flat(2, passage=["x", None]))) == 1


def test_scored_and_quarantined_are_all_pairs(bert: Path):
    table = flat(5, query=["a", None, "b", "c", "d"])
    scored = Job(bert).scored(table, [1, NAN, 2, 3])
    assert scored.status.tolist() == [
        Status.SCORED,
        Status.NULL_QUERY,
        Status.NOT_FINITE,
        Status.SCORED,
        Status.SCORED,
    ]
    assert np.array_equal(np.isnan(scored.score), scored.status != Status.SCORED)
