"""Canaries that are made of the user's own texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reranker_core.errors import InputError
from reranker_core.input.sample import sample_queries
from reranker_core.models.scores import Scores
from reranker_core.preflight.canaries import Pair, read_canaries
from reranker_core.preflight.own_canaries import make_canaries, write_canaries
from tests.tables import config


class Numbers:
    """Scores a passage by the number in it."""

    def score_texts(self, pairs: Sequence[Pair], threads: int | None = None) -> Scores:
        return Scores(np.array([float(text.split()[-1]) for _, text in pairs], np.float32), 0)


PROBE: Any = Numbers()
SAMPLE = [(f"query {n}", [f"a {n}", "b 50", "c 49.9", "d 100"]) for n in range(12)]


def test_the_best_passage_is_relevant_and_clearly_lower_ones_are_not(tmp_path: Path):
    found = make_canaries(PROBE, SAMPLE)
    assert len(found) == 12
    assert found[3] == ("query 3", ["d 100"], ["b 50", "c 49.9", "a 11", "a 10"])
    path = tmp_path / "own.jsonl"
    write_canaries(found, str(path))
    assert read_canaries(str(path)) == found


def test_a_query_with_one_passage_gets_those_of_others():
    found = make_canaries(PROBE, [(f"query {n}", [f"a {n}"]) for n in range(12)])
    assert all(len(bad) > 0 for _, _, bad in found)


@pytest.mark.parametrize("sample", [[], SAMPLE[:9], [(f"q {n}", ["a 1"]) for n in range(20)]])
def test_too_few_canaries_are_an_error(sample: list[tuple[str, list[str]]]):
    with pytest.raises(InputError, match="expected at least 10"):
        make_canaries(PROBE, sample)


def test_a_sample_holds_queries_with_their_passages(tmp_path: Path):
    rows = [(f"q{n % 7}", f"text {n}") for n in range(70)] + [
        ("q1", None),
        (None, "x"),
        ("q2", " "),
    ]
    columns = {
        "query_id": [query or "" for query, _ in rows],
        "query": [query for query, _ in rows],
        "doc_id": [str(n) for n in range(len(rows))],
        "passage": [text for _, text in rows],
    }
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "in" / "a.parquet")
    read = config(str(tmp_path / "in"), str(tmp_path / "out"))
    found = sample_queries(read, 5, 4)
    assert found == sample_queries(read, 5, 4)
    assert len(found) == 5
    for query, texts in found:
        assert len(texts) == len(set(texts)) == 4
        assert {(query, text) for text in texts} <= set(rows)
