"""Scored outputs become lines that FlagEmbedding's own reader takes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import transformers
from FlagEmbedding.abc.finetune.reranker.AbsDataset import AbsRerankerTrainDataset

from reranker_core.config import Config
from reranker_core.errors import ConfigError, Incomplete, InputError
from reranker_core.input.schema import InputSchema, resolve_schema
from reranker_core.output.manifest import conclude
from reranker_core.output.training import (
    TRAINING,
    Written,
    training_records,
    write_training_data,
)
from tests.outputs import Output
from tests.tables import STRUCT_COLUMNS, config, flat, nested, structs, write

SETTINGS = ("output.text=true", "output.rank=true")


def scored(table: pa.Table, scores: Any) -> pa.Table:
    return table.append_column("score", scores)


def lines(
    table: pa.Table, scores: Any, *overrides: str
) -> tuple[list[dict[str, Any]], Written, Config]:
    settings = config("in", "out", *SETTINGS, *overrides)
    schema: InputSchema = resolve_schema(table.schema, settings, "shard")
    written = Written()
    return training_records(scored(table, scores), schema, settings, written), written, settings


def test_flat_rows_become_a_line_a_query():
    table = flat(6, per_query=3, label=pa.array([0, 1, None, 1, 0, 0]))
    scores = pa.array([0.5, 2.0, -1.0, 3.0, None, 0.25], pa.float32())
    found, written, _ = lines(table, scores, "training.positive_column=label")
    assert found == [
        {
            "query": "what is number 0",
            "pos": ["passage 1 of many"],
            "neg": ["passage 0 of many", "passage 2 of many"],
            "pos_scores": [2.0],
            "neg_scores": [0.5, -1.0],
        },
        {
            "query": "what is number 1",
            "pos": ["passage 3 of many"],
            "neg": ["passage 5 of many"],
            "pos_scores": [3.0],
            "neg_scores": [0.25],
        },
    ]
    assert (written.queries, written.pairs, written.unscored) == (2, 5, 1)


@pytest.mark.parametrize("layout", [nested, structs])
def test_nested_rows_become_a_line_a_row(layout: Any):
    overrides = STRUCT_COLUMNS if layout is structs else ()
    scores = pa.array([[1.0, -1.0], [], [2.0], [0.5, 0.6, -3.0]], pa.list_(pa.float32()))
    found, written, _ = lines(
        layout([2, 0, 1, 3]), scores, "training.positive_score=0.5", *overrides
    )
    assert [line["query"] for line in found] == ["what is number 0", "what is number 3"]
    assert found[1]["pos"] == ["passage 3.0", "passage 3.1"]
    assert np.allclose(found[1]["pos_scores"], [0.5, 0.6])
    assert found[1]["neg"] == ["passage 3.2"]
    assert written.without_negative == 1


def test_a_query_without_a_positive_makes_no_line():
    found, written, _ = lines(
        flat(4, per_query=2),
        pa.array([0, 1, -1, -2], pa.float32()),
        "training.positive_score=0.5",
    )
    assert len(found) == written.queries == 1
    assert written.without_positive == 1


def test_flag_embedding_reads_the_lines(bert: Path, tmp_path: Path):
    table = flat(9, per_query=3, label=pa.array([0, 1, 0] * 3))
    found, _, _ = lines(
        table, pa.array(np.arange(9), pa.float32()), "training.positive_column=label"
    )
    path = tmp_path / "part.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in found))
    arguments = SimpleNamespace(
        train_data=[str(path)],
        cache_path=str(tmp_path),
        max_example_num_per_dataset=100,
        knowledge_distillation=True,
        train_group_size=3,
        shuffle_ratio=0.0,
        query_instruction_for_rerank=None,
        passage_instruction_for_rerank=None,
        query_max_len=32,
        passage_max_len=64,
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    examples = AbsRerankerTrainDataset(arguments, tokenizer)
    assert len(examples) == 3
    inputs, teacher = examples[1]
    assert len(inputs) == 3
    assert teacher[0] == 4.0
    assert sorted(teacher[1:]) == [3.0, 5.0]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((), "positive_column"),
        (("training.positive_score=0", "training.positive_column=label"), "either"),
    ],
)
def test_what_the_lines_need_is_asked_for(overrides: tuple[str, ...], said: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=said):
        write_training_data(config("in", tmp_path, *overrides))


@pytest.mark.parametrize("make", [lambda: flat(23, per_query=3), lambda: nested([3, 0, 2, 5])])
@pytest.mark.parametrize("scores", ["raw", "normalized"])
def test_texts_come_from_the_input_and_queries_are_whole(make: Any, scores: str, tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", make())
    found = []
    settings = ["training.positive_score=5", f"training.scores={scores}"]
    whole = (*SETTINGS, "output.normalize=sigmoid")
    for name, columns in (("plain", ()), ("whole", whole)):
        output = Output(tmp_path / "in", tmp_path / name, *columns, *settings)
        output.claim()
        output.commit_all()
        conclude(output.store, output.run, output.config, {})
        written = write_training_data(output.config)
        files = sorted(each.name for each in output.store.list(TRAINING))
        found.append([json.loads(x) for f in files for x in output.store.read(f).splitlines()])
    assert found[0] == found[1]
    assert len(found[0]) == written.queries > 0
    assert all(text.startswith("passage ") for line in found[0] for text in line["pos"])


def test_an_output_that_is_not_complete_is_not_read(tmp_path: Path):
    with pytest.raises(Incomplete, match="_SUCCESS"):
        write_training_data(config("in", tmp_path, *SETTINGS, "training.positive_score=0"))


def test_a_column_that_was_not_passed_through_is_named():
    with pytest.raises(ConfigError, match="'grade' is not in the output"):
        lines(flat(2), pa.array([1.0, 2.0]), "training.positive_column=grade")


def test_rows_of_a_query_that_are_apart_are_refused_in_words_of_export(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(6, query_id=["a", "b", "a", "b", "c", "c"]))
    output = Output(tmp_path / "in", tmp_path / "out", "training.positive_score=5")
    output.drive()
    with pytest.raises(InputError, match=r"export: a query of .*from row 0\) continues in") as told:
        write_training_data(output.config)
    assert "output.rank" not in str(told.value)
    assert not list(output.store.list(TRAINING))
