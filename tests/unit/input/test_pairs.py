"""Which texts of a part's table belong together, and which pairs cannot be scored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reranker_core.config import load_config
from reranker_core.input.pairs import Pairs, Status, find_pairs
from reranker_core.input.schema import InputSchema, resolve_schema

BAD = b"\xff\xfe broken"
TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
]

Scored = tuple[str, str] | None  # the texts of a pair, or None where it cannot be scored


def schema(table: pa.Table, **columns: str) -> InputSchema:
    overrides = [f"input.columns.{role}={name}" for role, name in columns.items()]
    config = load_config(
        None, ["input.path=none", "output.path=none", "model.path=none", *overrides]
    )
    return resolve_schema(table.schema, config, "shard")


def find(table: pa.Table, **columns: str) -> Pairs:
    return find_pairs(table, schema(table, **columns))


def texts(pairs: Pairs) -> list[Scored]:
    """The two texts of each pair, looked up as a scorer would."""
    return [
        None
        if index < 0
        else (pairs.queries[pairs.query_of[index]], pairs.passages[pairs.passage_of[index]])
        for index in pairs.distinct_of.tolist()
    ]


def statuses(pairs: Pairs) -> list[Status]:
    return [Status(value) for value in pairs.status.tolist()]


def flat(queries: pa.Array, passages: pa.Array) -> pa.Table:
    ids = [str(i) for i in range(len(queries))]
    return pa.table({"query_id": ids, "query": queries, "doc_id": ids, "passage": passages})


def nested(queries: list[Any], passages: Any, doc_ids: Any) -> pa.Table:
    return pa.table(
        {
            "query_id": [str(i) for i in range(len(queries))],
            "query": queries if isinstance(queries, pa.Array) else pa.array(queries, pa.string()),
            "doc_id": doc_ids,
            "passage": passages,
        }
    )


def unchecked(values: list[bytes | None], kind: pa.DataType) -> pa.Array:
    """A string array of these bytes, valid or not, as a Parquet file may hold them."""
    wide = pa.types.is_large_string(kind)
    array = pa.array(values, pa.large_binary() if wide else pa.binary())
    return pa.Array.from_buffers(kind, len(array), array.buffers())


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_flat_rows_are_pairs_in_their_order(kind: pa.DataType):
    queries, passages = ["q1", "q2", "q1", "", "Köln"], ["b", "a", "c", "a", "北京"]
    pairs = find(flat(pa.array(queries, kind), pa.array(passages, kind)))
    assert pairs.per_row is None
    assert statuses(pairs) == [Status.SCORED] * 5
    assert texts(pairs) == list(zip(queries, passages, strict=True))


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_null_texts_are_named(kind: pa.DataType):
    pairs = find(
        flat(pa.array(["q", None, "q", None], kind), pa.array(["p", "p", None, None], kind))
    )
    assert statuses(pairs) == [
        Status.SCORED,
        Status.NULL_QUERY,
        Status.NULL_PASSAGE,
        Status.NULL_QUERY,
    ]
    assert texts(pairs) == [("q", "p"), None, None, None]


def test_empty_texts_are_no_nulls():
    pairs = find(flat(pa.array(["", "q", ""]), pa.array(["p", "", ""])))
    assert texts(pairs) == [("", "p"), ("q", ""), ("", "")]


def test_columns_without_any_value_are_null():
    pairs = find(flat(pa.nulls(2), pa.array(["p", "p"])))
    assert statuses(pairs) == [Status.NULL_QUERY] * 2
    assert texts(pairs) == [None, None]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_invalid_utf8_costs_its_own_pairs_only(kind: pa.DataType):
    queries = unchecked([b"q1", BAD, b"q2", None, BAD, "Köln".encode()], kind)
    passages = unchecked([b"p1", b"p2", BAD, BAD, None, b"p1"], kind)
    pairs = find(flat(queries, passages))
    assert statuses(pairs) == [Status.SCORED, *[Status.INVALID_UTF8] * 4, Status.SCORED]
    assert texts(pairs) == [("q1", "p1"), None, None, None, None, ("Köln", "p1")]


def test_invalid_utf8_in_a_view_costs_its_own_pair_only():
    array = pa.array([b"q1", BAD * 5, b"q2"], pa.binary_view())
    queries = pa.Array.from_buffers(pa.string_view(), 3, array.buffers())
    pairs = find(flat(queries, pa.array(["p1", "p2", "p3"])))
    assert statuses(pairs) == [Status.SCORED, Status.INVALID_UTF8, Status.SCORED]
    assert texts(pairs) == [("q1", "p1"), None, ("q2", "p3")]


def test_invalid_utf8_in_a_dictionary_costs_its_own_pairs_only():
    words = unchecked([b"good", BAD, b"fine"], pa.string())
    queries = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 1, None], pa.int32()), words)
    pairs = find(flat(queries, pa.array(["a", "b", "c", "d", "e"])))
    assert texts(pairs) == [("good", "a"), None, ("fine", "c"), None, None]
    assert statuses(pairs)[1] == statuses(pairs)[3] == Status.INVALID_UTF8


def test_equal_pairs_are_one():
    rng = np.random.default_rng(0)
    queries = [f"q{i}" for i in rng.integers(0, 5, 300)]
    passages = [f"p{i}" for i in rng.integers(0, 7, 300)]
    pairs = find(flat(pa.array(queries), pa.array(passages)))
    assert texts(pairs) == list(zip(queries, passages, strict=True))
    assert len(pairs.query_of) == len(set(zip(queries, passages, strict=True)))
    assert len(pairs.queries) == len(set(queries))
    assert len(pairs.passages) == len(set(passages))


def test_a_query_and_a_passage_that_swap_places_are_another_pair():
    pairs = find(flat(pa.array(["a", "b"]), pa.array(["b", "a"])))
    assert texts(pairs) == [("a", "b"), ("b", "a")]


def test_many_chunks_are_one_part():
    pieces = [
        flat(pa.array(["q1", "q2"]).dictionary_encode(), pa.array(["a", "b"])),
        flat(pa.array(["q3", "q1", None]).dictionary_encode(), pa.array(["c", "a", "b"])),
    ]
    pairs = find(pa.concat_tables(pieces))
    assert texts(pairs) == [("q1", "a"), ("q2", "b"), ("q3", "c"), ("q1", "a"), None]
    assert len(pairs.query_of) == 3


def test_a_slice_is_a_part_of_its_own():
    table = flat(pa.array(["q1", "q2", None, "q3"]), pa.array(["a", "b", "c", "d"]))
    pairs = find(table.slice(1, 3))
    assert texts(pairs) == [("q2", "b"), None, ("q3", "d")]
    assert pairs.queries == ["q2", "q3"]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_an_empty_flat_table_has_no_pairs(kind: pa.DataType):
    pairs = find(flat(pa.array([], kind), pa.array([], kind)))
    assert (len(pairs.status), len(pairs.query_of), pairs.queries) == (0, 0, [])


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
@pytest.mark.parametrize("make_list", [pa.list_, pa.large_list])
def test_parallel_lists_are_flattened_row_by_row(kind: pa.DataType, make_list: Any):
    passages = pa.array([["a", "b"], [], ["c"], ["a"]], make_list(pa.string())).cast(
        make_list(kind)
    )
    doc_ids = pa.array([[1, 2], [], [3], [4]])
    pairs = find(nested(["q1", "q2", "q3", "q1"], passages, doc_ids))
    assert pairs.per_row is not None
    assert pairs.per_row.tolist() == [2, 0, 1, 1]
    assert texts(pairs) == [("q1", "a"), ("q1", "b"), ("q3", "c"), ("q1", "a")]
    assert len(pairs.query_of) == 3


def test_lists_of_a_fixed_size_are_flattened():
    passages = pa.array([["a", "b"], None, ["c", None]], pa.list_(pa.string(), 2))
    doc_ids = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2))
    pairs = find(nested(["q1", "q2", "q3"], passages, doc_ids))
    assert pairs.per_row is not None
    assert pairs.per_row.tolist() == [2, 0, 2]
    assert texts(pairs) == [("q1", "a"), ("q1", "b"), ("q3", "c"), None]


def test_null_lists_have_no_candidates():
    passages = pa.array([None, ["a"], None], pa.list_(pa.string()))
    pairs = find(nested(["q1", "q2", None], passages, pa.array([None, ["1"], []])))
    assert pairs.per_row is not None
    assert pairs.per_row.tolist() == [0, 1, 0]
    assert texts(pairs) == [("q2", "a")]


def test_values_hidden_under_a_null_list_are_no_candidates():
    values = pa.array(["a", "hidden", "b"])
    passages = pa.ListArray.from_arrays(
        pa.array([0, 1, 2, 3], pa.int32()), values, mask=pa.array([False, True, False])
    )
    pairs = find(nested(["q1", "q2", "q3"], passages, pa.array([["1"], None, ["2"]])))
    assert texts(pairs) == [("q1", "a"), ("q3", "b")]


def test_nulls_in_nested_rows_are_named():
    passages = pa.array([["a", None], ["b", "c"]])
    pairs = find(nested(["q1", None], passages, pa.array([[1, 2], [3, 4]])))
    assert statuses(pairs) == [
        Status.SCORED,
        Status.NULL_PASSAGE,
        Status.NULL_QUERY,
        Status.NULL_QUERY,
    ]


def test_lists_of_different_lengths_cost_their_own_row_only():
    passages = pa.array([["a"], ["b", "c"], ["d", "e"], ["f"], [], ["g"]])
    doc_ids = pa.array([["1"], ["2"], ["3", "4"], ["5", "6", "7"], ["8"], ["9"]])
    pairs = find(nested(["q1", "q2", "q3", "q4", "q5", "q6"], passages, doc_ids))
    assert pairs.per_row is not None
    assert pairs.per_row.tolist() == [1, 2, 2, 3, 1, 1]
    bad = Status.MISALIGNED_CANDIDATES
    good = Status.SCORED
    assert statuses(pairs) == [good, bad, bad, good, good, bad, bad, bad, bad, good]
    assert [pair for pair in texts(pairs) if pair] == [
        ("q1", "a"),
        ("q3", "d"),
        ("q3", "e"),
        ("q6", "g"),
    ]


def test_a_null_list_beside_a_full_one_is_misaligned():
    passages = pa.array([["a", "b"], None, ["c"]], pa.list_(pa.string()))
    doc_ids = pa.array([None, ["1"], ["2"]], pa.list_(pa.string()))
    pairs = find(nested(["q1", "q2", "q3"], passages, doc_ids))
    assert statuses(pairs) == [*[Status.MISALIGNED_CANDIDATES] * 3, Status.SCORED]
    assert texts(pairs) == [None, None, None, ("q3", "c")]


def test_lists_of_structs_are_flattened_row_by_row():
    candidates = pa.array(
        [
            [{"id": 1, "text": "a"}, {"id": 2, "text": None}],
            None,
            [],
            [None, {"id": 3, "text": "b"}],
        ],
        pa.list_(pa.struct({"id": pa.int64(), "text": pa.string()})),
    )
    table = pa.table(
        {"query_id": [1, 2, 3, 4], "query": ["q1", "q2", "q3", "q4"], "candidates": candidates}
    )
    pairs = find(table, doc_id="candidates.id", passage="candidates.text")
    assert pairs.per_row is not None
    assert pairs.per_row.tolist() == [2, 0, 0, 2]
    assert texts(pairs) == [("q1", "a"), None, None, ("q4", "b")]
    assert statuses(pairs)[1:3] == [Status.NULL_PASSAGE] * 2


def test_invalid_utf8_in_a_list_costs_its_own_pair_only():
    values = unchecked([b"a", BAD, b"b"], pa.string())
    passages = pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), values)
    pairs = find(nested(["q1", "q2"], passages, pa.array([[1, 2], [3]])))
    assert texts(pairs) == [("q1", "a"), None, ("q2", "b")]
    assert statuses(pairs)[1] == Status.INVALID_UTF8


def test_a_slice_of_nested_rows_is_a_part_of_its_own():
    passages = pa.array([["a"], ["b", "c"], None, ["d"]])
    doc_ids = pa.array([[1], [2, 3], None, [4]])
    table = nested(["q1", "q2", "q3", "q4"], passages, doc_ids)
    pairs = find(table.slice(1, 3))
    assert texts(pairs) == [("q2", "b"), ("q2", "c"), ("q4", "d")]


def test_a_slice_of_structs_is_a_part_of_its_own():
    candidates = pa.array([[{"id": 1, "text": "a"}], [{"id": 2, "text": "b"}], [None]])
    table = pa.table({"query_id": [1, 2, 3], "query": ["q1", "q2", "q3"], "candidates": candidates})
    pairs = find(table.slice(1, 2), doc_id="candidates.id", passage="candidates.text")
    assert texts(pairs) == [("q2", "b"), None]


def test_an_empty_nested_table_has_no_pairs():
    pairs = find(
        nested([], pa.array([], pa.list_(pa.string())), pa.array([], pa.list_(pa.int64())))
    )
    assert pairs.per_row is not None
    assert (pairs.per_row.tolist(), texts(pairs)) == ([], [])


def test_rows_without_any_candidate_have_no_pairs():
    none = pa.array([[], None], pa.list_(pa.string()))
    pairs = find(nested(["q1", "q2"], none, none))
    assert pairs.per_row is not None
    assert (pairs.per_row.tolist(), texts(pairs)) == ([0, 0], [])


@pytest.mark.parametrize("seed", range(5))
def test_random_nested_rows_equal_a_plain_loop(seed: int):
    rng = np.random.default_rng(seed)

    def some(letter: str, count: int) -> list[str | None]:
        drawn = rng.integers(0, 6, count)
        return [None if i == 0 else f"{letter}{i}" for i in drawn.tolist()]

    queries = some("q", 40)
    lists = [None if rng.random() < 0.1 else some("p", rng.integers(0, 5)) for _ in range(40)]
    doc_ids = [
        None if row is None else list(range(len(row) + int(rng.random() < 0.2))) for row in lists
    ]
    expected: list[Scored] = []
    for query, row, ids in zip(queries, lists, doc_ids, strict=True):
        aligned = len(row or ()) == len(ids or ())
        for passage in (row or ()) if aligned else (ids or ()):
            usable = aligned and query is not None and passage is not None
            expected.append((query, passage) if usable else None)
    pairs = find(nested(queries, pa.array(lists, pa.list_(pa.string())), pa.array(doc_ids)))
    assert texts(pairs) == expected


def test_equal_queries_with_other_instructions_are_other_queries():
    found = find(instructed(["strict", None, "strict", "strict"]), instruction="how")
    assert found.distinct_of[0] == found.distinct_of[2] != found.distinct_of[1]
    assert found.distinct_of[3] == -1
    asked = found.query_of[found.distinct_of[:3]]
    assert [found.queries[i] for i in asked] == ["q", "q", "q"]
    assert [(found.instructions or [])[i] for i in asked] == ["strict", None, "strict"]


def test_an_instruction_that_is_no_utf8_is_quarantined():
    broken = pa.array([b"\xff", b"a", b"b", b"c"]).view(pa.string())
    found = find(instructed(broken), instruction="how")
    assert found.status.tolist()[:2] == [Status.INVALID_UTF8, Status.SCORED]


def instructed(how: object) -> pa.Table:
    """Equal pairs but for the instruction, and one without a query."""
    queries = pa.array(["q", "q", "q", None])
    return flat(queries, pa.array(["p"] * 4)).append_column("how", pa.array(how))
