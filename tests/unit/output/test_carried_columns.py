"""Input columns in the output: as they were, and one type for all shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from reranker_core.encode.part import encode_part
from reranker_core.input.plan import make_plan
from reranker_core.input.reading import read_parts
from reranker_core.models.scores import Scores
from reranker_core.output.results import ScoredPart, output_table
from tests.scored import Job
from tests.tables import STRUCT_COLUMNS, flat, nested, structs, write


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
