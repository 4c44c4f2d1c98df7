"""From scores to the output's columns, and what is quarantined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from reranker_core.config import Config
from reranker_core.encode.part import EncodedPart, encode_part
from reranker_core.errors import InputError
from reranker_core.input.pairs import Status
from reranker_core.input.plan import make_plan
from reranker_core.input.reading import read_parts
from reranker_core.input.schema import InputSchema, resolve_schema
from reranker_core.models import encoder
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.scores import Scores
from reranker_core.output.results import ScoredPart, output_table, quarantined, rank_within
from tests.tables import STRUCT_COLUMNS, config, flat, nested, structs, write

NAN = float("nan")


class Job:
    """What a part goes through, with scores that the test chooses."""

    def __init__(self, bert: Path, *overrides: str) -> None:
        self.config: Config = config("in", "out", *overrides, model=bert)
        self.format = encoder.pair_format(open_checkpoint(self.config.model), self.config.model)

    def schema(self, table: pa.Table) -> InputSchema:
        return resolve_schema(table.schema, self.config, "shard")

    def encode(self, table: pa.Table) -> EncodedPart:
        return encode_part(table, self.schema(table), self.format, self.config)

    def scored(self, table: pa.Table, scores: list[float] | None = None) -> ScoredPart:
        """Give the pairs that can be scored, in order, `scores` (1, 2, 3, …)."""
        part = self.encode(table)
        known = part.distinct_of[part.distinct_of >= 0]
        given = np.arange(1, len(known) + 1) if scores is None else np.array(scores)
        values = np.empty(len(part.sequences), np.float32)
        values[known] = given
        return ScoredPart.of(part, Scores(values, 0), self.config.model)

    def output(self, table: pa.Table, scores: list[float] | None = None) -> pa.Table:
        return output_table(self.scored(table, scores), self.schema(table), self.config.output)

    def quarantined(
        self, table: pa.Table, scores: list[float] | None = None, first_row: int = 0
    ) -> list[dict]:
        return quarantined(self.scored(table, scores), self.schema(table), first_row)


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


def test_no_score_of_the_output_is_nan(bert: Path):
    found = Job(bert, "output.normalize=sigmoid").output(flat(3), [NAN, 1, NAN])
    for name in ("score", "score_normalized"):
        assert found[name].null_count == 2
        assert not np.isnan(found[name].drop_null().to_numpy()).any()


def test_the_sigmoid_tells_large_scores_apart(bert: Path):
    scores = [17.0, 17.5, 20.0, 30.0, 36.0]
    found = Job(bert, "output.normalize=sigmoid").output(flat(5), scores)
    normalized = found["score_normalized"].to_pylist()
    assert found["score_normalized"].type == pa.float64()
    assert normalized == sorted(set(normalized))
    assert max(normalized) < 1


def test_the_sigmoid_of_known_scores(bert: Path):
    found = Job(bert, "output.normalize=sigmoid").output(flat(3), [0, np.log(3), -np.log(3)])
    np.testing.assert_allclose(found["score_normalized"], [0.5, 0.75, 0.25], rtol=1e-6)


def test_scores_are_divided_by_the_temperature_before_the_sigmoid(bert: Path):
    job = Job(bert, "output.normalize=sigmoid", "output.rank=true")
    scores = [0, 5 * np.log(3), -5 * np.log(3)]
    table = flat(3)
    found = output_table(job.scored(table, scores), job.schema(table), job.config.output, 5.0)
    np.testing.assert_allclose(found["score_normalized"], [0.5, 0.75, 0.25], rtol=1e-6)
    np.testing.assert_array_equal(found["score"], np.array(scores, np.float32))


def test_the_sigmoid_of_extreme_scores_is_silent(bert: Path, recwarn: pytest.WarningsRecorder):
    found = Job(bert, "output.normalize=sigmoid").output(flat(2), [-1e30, 1e30])
    assert found["score_normalized"].to_pylist() == [0, 1]
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


def ranks(groups: list[int], scores: list[float]) -> list[int]:
    return rank_within(np.array(groups, np.int64), np.array(scores, np.float32)).tolist()


def test_ranks_descend_with_the_score():
    assert ranks([0, 0, 0], [0.1, 0.9, 0.5]) == [3, 1, 2]


def test_ranks_begin_anew_with_each_query():
    assert ranks([0, 0, 1, 1, 1, 4], [1, 2, 3, 2, 1, 0]) == [2, 1, 1, 2, 3, 1]


def test_ties_keep_the_order_of_the_input():
    assert ranks([0, 0, 0, 0], [5, 7, 5, 7]) == [3, 1, 4, 2]


def test_pairs_without_a_score_come_last():
    assert ranks([0, 0, 0, 1, 1], [NAN, -1e30, 2, NAN, 1]) == [3, 2, 1, 2, 1]


def test_ranks_of_nothing():
    assert ranks([], []) == []


@pytest.mark.parametrize("seed", range(10))
def test_ranks_equal_sorting_each_query(seed: int):
    rng = np.random.default_rng(seed)
    groups = np.sort(rng.integers(0, 8, 60))
    scores = rng.integers(0, 5, 60).astype(np.float32)
    found = rank_within(groups, scores)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        expected = sorted(rows, key=lambda row: (-scores[row], row))
        assert sorted(rows, key=lambda row: found[row]) == expected
        assert sorted(found[rows]) == list(range(1, len(rows) + 1))


def test_flat_ranks_are_within_a_query(bert: Path):
    found = Job(bert, "output.rank=true").output(flat(4, per_query=2), [1, 2, 4, 3])
    assert found["rank"].to_pylist() == [2, 1, 1, 2]


def test_nested_ranks_are_within_a_row(bert: Path):
    found = Job(bert, "output.rank=true").output(nested([3, 0, 2]), [1, 3, 2, 5, 4])
    assert found["rank"].to_pylist() == [[3, 1, 2], [], [1, 2]]


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([7, 7, 3, 3]),
        pa.array(["b", "b", "a", "a"]).dictionary_encode(),
        pa.array([None, None, "a", "a"]),
    ],
)
def test_query_ids_of_any_type_group_ranks(bert: Path, ids: pa.Array):
    found = Job(bert, "output.rank=true").output(flat(4, query_id=ids), [1, 2, 4, 3])
    assert found["rank"].to_pylist() == [2, 1, 1, 2]


def test_a_query_that_returns_after_others_cannot_be_ranked(bert: Path):
    with pytest.raises(InputError, match=r"not adjacent.*query_id"):
        Job(bert, "output.rank=true").output(flat(3, query_id=["a", "b", "a"]))


def test_a_query_that_returns_is_fine_without_ranks(bert: Path):
    assert Job(bert).output(flat(3, query_id=["a", "b", "a"])).num_rows == 3


def test_passed_through_columns_are_as_they_were(bert: Path):
    extra = {"year": [1, None, 3], "tags": [["a"], [], None], "blob": [b"\xff", b"", None]}
    found = Job(bert).output(flat(3, **extra))
    assert {name: found[name].to_pylist() for name in extra} == extra


def test_text_is_not_in_the_output_unless_asked_for(bert: Path):
    assert not {"query", "passage"} & set(Job(bert).output(flat(3)).column_names)
    with_text = Job(bert, "output.text=true").output(flat(3))
    assert with_text["passage"].to_pylist() == flat(3)["passage"].to_pylist()


def test_structs_keep_their_other_fields_without_the_passage(bert: Path):
    found = Job(bert, *STRUCT_COLUMNS).output(structs([2, 0, 1]))
    assert found["candidates"].to_pylist() == [
        [{"doc_id": "d0.0", "year": 2000}, {"doc_id": "d0.1", "year": 2001}],
        [],
        [{"doc_id": "d2.0", "year": 2000}],
    ]
    assert found["score"].to_pylist() == [[1, 2], [], [3]]


def test_structs_are_whole_when_text_is_asked_for(bert: Path):
    table = structs([2, 0, 1])
    found = Job(bert, *STRUCT_COLUMNS, "output.text=true").output(table)
    assert found["candidates"].to_pylist() == table["candidates"].to_pylist()


def test_null_lists_and_null_structs_stay_null(bert: Path):
    kind = structs([1]).schema.field("candidates").type
    one = {"doc_id": "d", "passage": "p", "year": 1}
    lists = pa.array([None, [one, None], [], [one]], kind)
    table = structs([0] * 4).set_column(2, "candidates", lists)
    found = Job(bert, *STRUCT_COLUMNS).output(table)
    left = {"doc_id": "d", "year": 1}
    assert found["candidates"].to_pylist() == [None, [left, None], [], [left]]
    assert [len(row) for row in found["score"].to_pylist()] == [0, 2, 0, 1]


def test_a_slice_of_structs_is_carried_right(bert: Path):
    table = structs([3, 1, 2, 4])
    found = Job(bert, *STRUCT_COLUMNS).output(table.slice(1, 2))
    assert [[c["doc_id"] for c in row] for row in found["candidates"].to_pylist()] == [
        ["d1.0"],
        ["d2.0", "d2.1"],
    ]


def outputs(job: Job, *tables: pa.Table, folder: Path) -> list[pa.Table]:
    """What the parts of a run over these shards become."""
    for number, table in enumerate(tables):
        write(folder / f"{number}.parquet", table)
    paths = {"path": str(folder)}
    settings = job.config.model_copy(update={"input": job.config.input.model_copy(update=paths)})
    plan = make_plan(settings)
    found = []
    for part in plan.parts:
        ((_, table),) = read_parts([part], plan.schema.columns)
        encoded = encode_part(table, plan.schema, job.format, settings)
        scores = Scores(np.zeros(len(encoded.sequences), np.float32), 0)
        scored = ScoredPart.of(encoded, scores, settings.model)
        found.append(output_table(scored, plan.schema, settings.output))
    return found


@pytest.mark.parametrize("first", [True, False])
def test_a_column_without_a_value_in_one_shard_has_the_type_of_the_others(
    bert: Path, tmp_path: Path, first: bool
):
    shards = [flat(2, lang=pa.nulls(2)), flat(2, lang=["de", "en"])]
    found = outputs(Job(bert), *(shards if first else shards[::-1]), folder=tmp_path)
    assert {table.schema.field("lang").type for table in found} == {pa.string()}
    assert sorted(str(v) for table in found for v in table["lang"].to_pylist()) == [
        "None",
        "None",
        "de",
        "en",
    ]


def test_a_shard_of_nothing_but_empty_lists_goes_with_the_others(bert: Path, tmp_path: Path):
    empty = nested([0, 0], doc_id=[[], []], passage=[[], []])
    found = outputs(Job(bert), nested([1, 2]), empty, folder=tmp_path)
    assert found[0].schema == found[1].schema


def test_text_of_several_kinds_is_one_data_set(bert: Path, tmp_path: Path):
    text = pa.array(["a", "b"])
    shards = [flat(2, passage=text), flat(2, passage=text.dictionary_encode())]
    found = outputs(Job(bert, "output.text=true"), *shards, folder=tmp_path)
    assert found[0].schema == found[1].schema


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


def test_labels_count_the_thresholds_that_a_score_reaches(bert: Path):
    found = Job(bert, "output.label_thresholds=[0, 2.5]").output(flat(4), [-1, 0, 2, 2.5])
    assert found["label"].to_pylist() == [0, 1, 1, 2]


def test_a_pair_without_a_score_has_no_label(bert: Path):
    table = flat(2, passage=pa.array(["a", None]))
    found = Job(bert, "output.label_thresholds=[0]").output(table, [3])
    assert found["label"].to_pylist() == [1, None]
