"""Ranks within a query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from reranker_core.errors import InputError
from reranker_core.output.results import rank_within
from tests.scored import NAN, Job
from tests.tables import flat, nested


def ranks(groups: list[int], scores: list[float]) -> list[int]:
    return rank_within(np.array(groups, np.int64), np.array(scores, np.float32)).tolist()


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
