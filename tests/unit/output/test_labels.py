"""Labels belong to pairs one by one; where they do not fit, nothing is guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reranker_core.config import TrainingConfig
from reranker_core.errors import ConfigError, InputError
from reranker_core.input.schema import Field, resolve_schema
from reranker_core.output.labels import field_of, labels_of
from reranker_core.output.training import TRAINING, write_training_data
from tests.outputs import Output
from tests.tables import STRUCT_COLUMNS, config, flat, nested, structs, write

RULE = TrainingConfig(positive_column="label")


def found(table: pa.Table, rule: TrainingConfig = RULE, *overrides: str) -> tuple[list, list]:
    schema = resolve_schema(table.schema, config("in", "out", *overrides), "shard")
    if schema.nested:
        lists = table[schema.doc_id.column].to_pylist()
        scores = pa.array([[0.5] * len(row) for row in lists], pa.list_(pa.float32()))
        table = table.append_column("score", scores)
    labelled, positive = labels_of(table, schema, rule, "score", ("shard.parquet", 40))
    return labelled.tolist(), positive.tolist()


KINDS = [
    pa.list_(pa.int64()),
    pa.large_list(pa.float64()),
    pa.list_(pa.bool_()),
    pa.list_view(pa.int8()),
    pa.list_(pa.dictionary(pa.int8(), pa.int64())),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_pair_has_its_own_label(kind: pa.DataType):
    numbers = pa.array([[1, 0], None, [], [0, None, 1]], pa.list_(pa.int64()))
    if pa.types.is_list(kind) and pa.types.is_dictionary(kind.value_type):
        values = numbers.flatten().dictionary_encode()
        labels = pa.ListArray.from_arrays(numbers.offsets, values, mask=numbers.is_null())
    else:
        labels = pa.array(numbers.cast(pa.list_(kind.value_type)).to_pylist(), kind)
    labelled, positive = found(nested([2, 2, 0, 3], label=labels))
    assert labelled == [True, True, False, False, True, False, True]
    assert positive == [True, False, False, False, False, False, True]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.lists(st.booleans(), max_size=4)), min_size=1, max_size=8))
def test_labels_of_a_row_never_reach_another(rows: list[list[bool] | None]):
    counts = [2 if row is None else len(row) for row in rows]
    labelled, positive = found(nested(counts, label=pa.array(rows, pa.list_(pa.bool_()))))
    expected = [[None] * 2 if row is None else row for row in rows]
    assert labelled == [label is not None for row in expected for label in row]
    assert positive == [bool(label) for row in expected for label in row]


@pytest.mark.parametrize(
    "labels", [[[1, 0], [1], [0, 0, 1]], [[1, 0], [1], [0, 1]], [[1, 0], [1, 0, 0], [0, 1]]]
)
def test_a_row_with_another_number_of_labels_is_named_without_its_text(labels: list[list[int]]):
    with pytest.raises(InputError) as caught:
        found(nested([2, 2, 2], label=labels))
    message = str(caught.value)
    assert message.startswith("shard.parquet: row 41: column 'label'")
    assert "what is number" not in message
    assert "passage 1" not in message


def test_labels_in_the_structs_of_the_candidates():
    rule = TrainingConfig(positive_column="candidates.year")
    labelled, positive = found(structs([2, 0, 1]), rule, *STRUCT_COLUMNS)
    assert labelled == [True] * 3
    assert positive == [True] * 3


def test_labels_that_are_no_lists_or_no_numbers_are_refused():
    with pytest.raises(ConfigError, match="expected"):
        found(nested([2, 2], label=[1, 0]))
    with pytest.raises(InputError, match="expected numbers"):
        found(nested([1, 1], label=[["yes"], ["no"]]))
    with pytest.raises(InputError, match="expected numbers"):
        found(flat(2, label=[[1], [0]]))


def output(tmp_path: Path, labels: Any) -> Any:
    write(tmp_path / "in/a.parquet", nested([2] * len(labels), label=labels))
    given = ("output.text=true", "output.rank=true", "training.positive_column=label")
    made = Output(tmp_path / "in", str(tmp_path / "out"), *given)
    made.drive()
    assert len(made.plan.parts) > 1
    return made.config


def test_no_file_is_written_where_a_later_part_has_labels_that_do_not_fit(tmp_path: Path):
    # The total is right, so the plan does not know it.
    settings = output(tmp_path, [[1, 0]] * 4 + [[1], [1, 0, 0]])
    with pytest.raises(InputError, match=r"a\.parquet: row 4:"):
        write_training_data(settings)
    assert not (tmp_path / "out" / TRAINING).exists()


def test_queries_without_labels_are_counted(tmp_path: Path):
    written = write_training_data(output(tmp_path, [[1, 0], None, [0, 1]]))
    assert (written.queries, written.unlabelled, written.without_positive) == (2, 2, 1)
    lines = [
        json.loads(line)
        for path in sorted((tmp_path / "out" / TRAINING).iterdir())
        for line in path.read_text().splitlines()
    ]
    assert [line["pos"] for line in lines] == [["passage 0.0"], ["passage 2.1"]]


def test_labels_in_structs_of_a_column_with_a_dot():
    assert field_of("cands.v1.label", ["cands.v1", "score"]) == Field("cands.v1", "label")
    assert field_of("a.b", ["a", "a.b"]) == Field("a.b")
