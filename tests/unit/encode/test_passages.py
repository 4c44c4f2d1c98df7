"""Long passages: chunks on token boundaries, one score a pair, and what is lost."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reranker_core.config import ModelConfig
from reranker_core.encode.part import encode_part
from reranker_core.encode.passages import Prepared, assemble, combine
from reranker_core.encode.sequences import Ragged, Runs, TokenSequences
from reranker_core.errors import ConfigError
from reranker_core.input.schema import resolve_schema
from reranker_core.models import families
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.scores import Scores
from reranker_core.output.results import ScoredPart, output_table
from tests.parity.common import load, words
from tests.tables import config, nested

FOLDERS = ["bert", "gemma", "qwen3", "monot5"]


def pair_format(folder: Path, **settings: Any) -> Any:
    model = ModelConfig(path=str(folder), **settings)
    checkpoint = open_checkpoint(model)
    return families.FAMILIES[families.recognise(checkpoint, "auto")].pair_format(checkpoint, model)


def encode(found: Any, *pairs: tuple[str, str], whole: bool = False) -> TokenSequences:
    index = np.arange(len(pairs))
    queries, passages = map(list, zip(*pairs, strict=True))
    return found.encode(queries, passages, index, index, whole=whole)


def runs(sequences: TokenSequences) -> list[list[int]]:
    tokens = sequences.tokens
    return [run.tolist() for run in np.split(tokens.values, np.cumsum(tokens.lengths)[:-1])]


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def lengths_of(folder: Path) -> dict[str, int]:
    most = {"bert": 60, "gemma": 60, "monot5": 60, "qwen3": 260}
    [name] = [name for name in most if folder.name.startswith(name)]
    return {"max_length": most[name], "query_max_length": 20}


@pytest.mark.parametrize("overlap", [0, 3, 50])
@pytest.mark.parametrize("room", [1, 4, 9])
def test_chunks_overlap_and_cover_the_passage(overlap: int, room: int):
    sizes = [0, 1, room, room + 1, 3 * room, 41]
    model = ModelConfig(path="x", long_passage="max", chunk_overlap=overlap)
    passages = [list(range(100, 100 + size)) for size in sizes]
    index = np.arange(len(sizes))
    pairs = Prepared(
        Runs.same([1, 2], len(sizes)),
        Runs(Ragged.of(passages), index),
        Runs.same([3], len(sizes)),
        np.full(len(sizes), room),
        np.zeros(len(sizes), np.int64),
    )
    sequences = assemble(pairs, model, "right")
    found = iter(runs(sequences))
    step = room - min(overlap, room // 2)
    for passage, count in zip(passages, sequences.chunks, strict=True):
        chunks = [next(found) for _ in range(count)]
        assert all(chunk[:2] == [1, 2] and chunk[-1] == 3 for chunk in chunks)
        bodies = [chunk[2:-1] for chunk in chunks]
        assert bodies == [passage[i * step :][:room] for i in range(count)]
        assert {i for body in bodies for i in body} == set(passage)
        assert count == 1 or len(bodies[-1]) > room - step  # none is part of the one before
    assert sequences.lost.tolist() == [0] * len(sizes)


def test_each_chunk_says_what_a_passage_begins_with(folder: Path):
    found = pair_format(folder, long_passage="max", chunk_overlap=8, **lengths_of(folder))
    rng = random.Random(1)
    chunks = encode(found, (words(5, rng), words(300, rng)))
    start = int(chunks.passage_starts.min()) if folder.name[0] != "b" else 3
    assert len({tuple(run[:start]) for run in runs(chunks)}) == 1
    assert max(chunks.tokens.lengths) <= found.max_length
    if folder.name.startswith("gemma"):
        assert found.tokenizer.decode(runs(chunks)[-1][:start]).endswith("\nB:")


def test_chunks_do_not_depend_on_other_passages(qwen3: Path):
    vocabulary = json.loads((qwen3 / "tokenizer.json").read_text())["model"]["vocab"]
    token = next(token for token in vocabulary if token.isalpha() and len(token) > 2)
    template = {"segments": ["{query}\n", f"{token[0]}{{passage}}"], "answer_ids": {7: 1.0}}
    settings = {"template": template, "max_length": 40, "query_max_length": 10}
    found = pair_format(qwen3, long_passage="max", chunk_overlap=0, **settings)
    rng = random.Random(5)
    # The first one has a token that begins before the passage.
    pairs = [("a", f"{token[1:]} {words(60, rng)}"), ("b", f"({words(60, rng)}")]
    assert len(found.tokenizer.ids(token)) == 1
    together = runs(encode(found, *pairs))
    assert together == [run for pair in pairs for run in runs(encode(found, pair))]


def test_a_short_passage_is_one_chunk_with_the_same_ids(folder: Path):
    settings = lengths_of(folder)
    pair = ("how to", "read a file")
    in_chunks = encode(pair_format(folder, long_passage="max", **settings), pair)
    assert runs(in_chunks) == runs(encode(pair_format(folder, **settings), pair))


def test_what_is_lost_is_counted(folder: Path):
    found = pair_format(folder, **lengths_of(folder))
    rng = random.Random(2)
    pair = words(50, rng), words(500, rng)
    sequences = encode(found, pair, whole=True)
    [cut] = runs(sequences)
    query = len(found.tokenizer.ids(pair[0]))
    passage = len(found.tokenizer.ids(pair[1]))
    [bare] = runs(encode(found, ("", "")))
    # Tokens at the seams may differ by a few.
    assert abs(int(sequences.lost[0]) - (query + passage + len(bare) - len(cut))) <= 3
    assert encode(found, ("a", "b"), whole=True).lost.tolist() == [0]


def test_no_more_chunks_than_allowed(folder: Path):
    rng = random.Random(3)
    found = pair_format(folder, long_passage="max", max_chunks=2, **lengths_of(folder))
    sequences = encode(found, (words(3, rng), words(900, rng)), ("a", "b"))
    assert sequences.chunks.tolist() == [2, 1]
    assert sequences.lost[0] > 100
    assert sequences.lost[1] == 0


def test_scores_of_chunks_are_those_of_their_texts(gemma: Path):
    rng = random.Random(4)
    scorer = load(gemma, 40, 10, "model.long_passage=max", "model.chunk_overlap=0")
    sequences = encode(scorer.pair_format, ("a b", words(150, rng)))
    values = scorer.score(sequences).values
    assert len(values) > 3
    start, behind = int(sequences.passage_starts[0]), scorer.pair_format.behind
    for ids, value in zip(runs(sequences), values, strict=True):
        text = scorer.pair_format.tokenizer.decode(ids[start : len(ids) - behind]).strip()
        assert abs(load(gemma, 40, 10).score_pairs([("a b", text)])[0] - value) < 1e-5


@pytest.mark.parametrize(
    ("how", "expected"), [("max", [3.0, 5.0, -1.0]), ("mean_top_k", [2.5, 5.0, -1.5])]
)
def test_one_score_from_several(how: str, expected: list[float]):
    values = np.array([1, 3, 2, 5, -1, -2], np.float32)
    model = ModelConfig(path="x", long_passage=how, top_k=2)
    assert combine(values, np.array([3, 1, 2], np.int32), model).tolist() == expected


@pytest.mark.parametrize("how", ["max", "mean_top_k"])
def test_a_chunk_that_is_not_finite_spoils_its_pair_only(how: str):
    values = np.array([1, np.nan, 2, 5], np.float32)
    model = ModelConfig(path="x", long_passage=how)
    found = combine(values, np.array([3, 1], np.int32), model)
    assert np.isnan(found[0])
    assert found[1] == 5


def test_columns_stay_aligned_with_their_candidates(bert: Path):
    settings = config(
        "in",
        "out",
        "model.max_length=32",
        "model.query_max_length=20",
        "model.long_passage=max",
        "model.chunk_overlap=2",
        "output.tokens_lost=true",
        "output.chunks=true",
        model=bert,
    )
    rng = random.Random(5)
    passages = [["a", words(60, rng)], [words(30, rng), None, "b"]]
    table = nested([2, 3], passage=passages)
    schema = resolve_schema(table.schema, settings, "shard")
    found = pair_format(bert, **settings.model.model_dump(exclude={"path", "template"}))
    part = encode_part(table, schema, found, settings)
    values = np.arange(len(part.sequences), dtype=np.float32)
    output = output_table(
        ScoredPart.of(part, Scores(values, 0), settings.model), schema, settings.output
    )
    chunks = output["chunks"].to_pylist()
    assert chunks[0][0] == chunks[1][2] == 1
    assert chunks[1][1] is None
    assert chunks[0][1] > chunks[1][0] > 1
    assert output["tokens_lost"].to_pylist() == [[0, 0], [0, None, 0]]
    assert sum(n for row in chunks for n in row if n) == len(part.sequences)


def test_a_sequence_that_ends_processes_costs_its_pair(bert: Path):
    settings = config(
        "in",
        "out",
        "model.max_length=24",
        "model.query_max_length=10",
        "model.long_passage=max",
        "model.chunk_overlap=2",
        model=bert,
    )
    rng = random.Random(6)
    table = nested([3], passage=[["a", words(60, rng), "b"]])
    schema = resolve_schema(table.schema, settings, "shard")
    found = pair_format(bert, **settings.model.model_dump(exclude={"path", "template"}))
    part = encode_part(table, schema, found, settings)
    long = int(np.argmax(part.sequences.chunks))
    last = int(part.sequences.chunks[: long + 1].sum()) - 1
    values = np.zeros(len(part.sequences), np.float32)
    values[last] = np.nan
    scored = ScoredPart.of(part, Scores(values, 0, np.array([last])), settings.model)
    output = output_table(scored, schema, settings.output)
    assert output["status"].to_pylist() == [["scored", "ends_process", "scored"]]


def test_chunks_need_the_query_to_stay_the_same(bert: Path):
    with pytest.raises(ConfigError, match="only_passage"):
        pair_format(bert, long_passage="max", truncation="longest_first")


def test_long_passages_are_part_of_the_record_only_where_they_matter(folder: Path):
    settings = lengths_of(folder)
    plain = pair_format(folder, **settings).record
    assert pair_format(folder, chunk_overlap=9, **settings).record == plain
    one = pair_format(folder, long_passage="max", chunk_overlap=9, **settings).record
    other = pair_format(folder, long_passage="max", chunk_overlap=10, **settings).record
    assert one != other != plain
