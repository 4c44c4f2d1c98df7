"""From scores to the columns that the output adds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from reranker_core.models.scores import Scores
from reranker_core.output.results import ScoredPart, output_table
from tests.scored import NAN, Job
from tests.tables import flat, nested


def test_pairs_with_special_tokens_are_counted_each_time_they_occur(bert: Path):
    passages = ["plain", "old [SEP] new", "old [SEP] new", None, "[PAD]", "plain"]
    queries = ["a query"] * 5 + ["what is [MASK]"]
    assert Job(bert).encode(flat(6, passage=passages, query=queries)).special_tokens == 4
    assert Job(bert).encode(flat(6)).special_tokens == 0


def test_flat_rows_keep_their_order_and_get_a_score_and_a_status(bert: Path):
    found = Job(bert).output(flat(3), [0.5, -1.5, 2.5])
    assert found.column_names == ["query_id", "doc_id", "score", "status"]
    assert found["doc_id"].to_pylist() == ["d0", "d1", "d2"]
    assert found["score"].to_pylist() == [0.5, -1.5, 2.5]
    assert found["score"].type == pa.float32()
    assert found["status"].to_pylist() == ["scored"] * 3


def test_nested_rows_get_lists_as_long_as_their_candidates(bert: Path):
    found = Job(bert).output(nested([2, 0, 1]))
    assert found["score"].to_pylist() == [[1, 2], [], [3]]
    assert found["status"].to_pylist() == [["scored"] * 2, [], ["scored"]]
    assert found["score"].type == pa.list_(pa.float32())


def test_equal_pairs_get_equal_scores(bert: Path):
    table = pa.concat_tables([flat(2), flat(2)])
    part = Job(bert).encode(table)
    assert len(part.sequences) == 2
    values = np.array([7, 8], np.float32)
    scored = ScoredPart.of(part, Scores(values, 0), Job(bert).config.model)
    assert scored.score.tolist() == [*scored.score[:2], *scored.score[:2]]
    assert sorted(scored.score[:2].tolist()) == [7, 8]


def test_added_columns_have_the_configured_names(bert: Path):
    found = Job(
        bert,
        "output.columns={score: s, normalized: n, rank: r, status: t}",
        "output.rank=true",
        "output.normalize=sigmoid",
    ).output(flat(2))
    assert found.column_names == ["query_id", "doc_id", "s", "n", "r", "t"]


def test_pairs_that_cannot_be_scored_have_nulls_and_their_reason(bert: Path):
    table = flat(4, query=["a", None, "b", "c"], passage=["x", "y", None, "z"])
    found = Job(bert, "output.rank=true", "output.normalize=sigmoid").output(table, [1, NAN])
    assert found["score"].to_pylist() == [1, None, None, None]
    assert [value is None for value in found["score_normalized"].to_pylist()] == [
        False,
        True,
        True,
        True,
    ]
    assert [value is None for value in found["rank"].to_pylist()] == [False, True, True, True]
    assert found["status"].to_pylist() == ["scored", "null_query", "null_passage", "not_finite"]


def test_nested_pairs_that_cannot_be_scored_have_nulls_in_place(bert: Path):
    passages = pa.array([["x", None, "y"], None, ["z"]])
    table = nested([3, 0, 1], passage=passages)
    found = Job(bert).output(table)
    assert found["score"].to_pylist() == [[1, None, 2], [], [3]]
    assert found["status"].to_pylist() == [["scored", "null_passage", "scored"], [], ["scored"]]


def test_a_row_whose_lists_differ_in_length_is_quarantined_alone(bert: Path):
    table = nested([2, 2], passage=[["x"], ["y", "z"]])
    found = Job(bert).output(table)
    assert found["score"].to_pylist() == [[None, None], [1, 2]]
    assert found["status"].to_pylist() == [["misaligned_candidates"] * 2, ["scored"] * 2]


def test_the_sigmoid_tells_large_scores_apart(bert: Path):
    scores = [17.0, 17.5, 20.0, 30.0, 36.0]
    found = Job(bert, "output.normalize=sigmoid").output(flat(5), scores)
    normalized = found["score_normalized"].to_pylist()
    assert found["score_normalized"].type == pa.float64()
    assert normalized == sorted(set(normalized))
    assert max(normalized) < 1


def test_the_sigmoid_of_extreme_scores_is_silent(bert: Path, recwarn: pytest.WarningsRecorder):
    found = Job(bert, "output.normalize=sigmoid").output(flat(2), [-1e30, 1e30])
    assert found["score_normalized"].to_pylist() == [0, 1]
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


def test_labels_count_the_thresholds_that_a_score_reaches(bert: Path):
    found = Job(bert, "output.label_thresholds=[0, 2.5]").output(flat(4), [-1, 0, 2, 2.5])
    assert found["label"].to_pylist() == [0, 1, 1, 2]
    found = Job(bert, "output.label_thresholds=[2.5, 0]").output(flat(4), [-1, 0, 2, 2.5])
    assert found["label"].to_pylist() == [0, 1, 1, 2]


def test_a_pair_without_a_score_has_no_label(bert: Path):
    table = flat(2, passage=pa.array(["a", None]))
    found = Job(bert, "output.label_thresholds=[0]").output(table, [3])
    assert found["label"].to_pylist() == [1, None]


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_the_sigmoid_of_scores_divided_by_the_temperature(bert: Path, temperature: float):
    job = Job(bert, "output.normalize=sigmoid", "output.rank=true")
    scores = [0, temperature * np.log(3), -temperature * np.log(3)]
    table = flat(3)
    found = output_table(
        job.scored(table, scores), job.schema(table), job.config.output, temperature
    )
    np.testing.assert_allclose(found["score_normalized"], [0.5, 0.75, 0.25], rtol=1e-6)
    np.testing.assert_array_equal(found["score"], np.array(scores, np.float32))
