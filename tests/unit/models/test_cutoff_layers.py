"""Several cutoff layers at once: one forward, the score of the last, and columns for the others."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from reranker_core.config import Config, ModelConfig
from reranker_core.encode.part import EncodedPart, encode_part
from reranker_core.encode.passages import combine
from reranker_core.encode.sequences import TokenSequences
from reranker_core.errors import ConfigError, InputError
from reranker_core.input.plan import make_plan
from reranker_core.input.reading import read_parts
from reranker_core.input.schema import resolve_schema
from reranker_core.models import families
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.scores import Scores
from reranker_core.output.commit import commit, data_name
from reranker_core.output.contents import Columns, check_content
from reranker_core.output.identity import digest, fingerprint, identity
from reranker_core.output.results import ScoredPart, output_table
from reranker_core.score.exact import in_float32
from reranker_core.score.guard import rescue
from reranker_core.score.scorer import Scorer
from reranker_core.storage.store import Store
from tests.outputs import MEASURES
from tests.parity.common import load, words
from tests.tables import config, flat, nested, write

NAN, INF = float("nan"), float("inf")
SEVERAL = "model.cutoff_layer=[2, 3, 6]"
COLUMNS = ["score", "score_layer_2", "score_layer_3"]
LAYERED = ["minicpm_layerwise", "gemma2_lightweight"]
TEXTS = [(f"query {i}", f"passage {'word ' * i}") for i in range(8)]


@pytest.fixture(params=LAYERED)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def pair_format(folder: Path, cutoff_layer: Any, **settings: Any) -> Any:
    model = ModelConfig(path=str(folder), cutoff_layer=cutoff_layer, **settings)
    checkpoint = open_checkpoint(model)
    return families.FAMILIES[families.recognise(checkpoint, "auto")].pair_format(checkpoint, model)


def encoded(scorer: Scorer) -> TokenSequences:
    """TEXTS, each of another length."""
    index = np.arange(len(TEXTS))
    queries, passages = zip(*TEXTS, strict=True)
    return scorer.pair_format.encode(list(queries), list(passages), index, index)


@pytest.mark.parametrize("value", ["[28, 20]", "[8, 8]", "[]", "[0, 8]", "0", "[8, x]", "all"])
def test_layers_that_are_none_or_not_ascending_are_refused(value: str):
    with pytest.raises(ConfigError, match=r"model\.cutoff_layer=") as caught:
        config("in", "out", f"model.cutoff_layer={value}")
    assert caught.value.exit_code == 2


def test_a_list_of_one_is_that_layer():
    assert config("in", "out", "model.cutoff_layer=[8]") == config(
        "in", "out", "model.cutoff_layer=8"
    )


@pytest.mark.parametrize("layers", [[1, 3], [3, 7]])
def test_every_layer_needs_a_head(folder: Path, layers: list[int]):
    with pytest.raises(ConfigError, match=r"cutoff_layer=\[\d, \d\].* layers 2 to 6"):
        pair_format(folder, layers)


def test_other_families_have_no_layers_to_ask_for(bert: Path):
    model = ModelConfig(path=str(bert), cutoff_layer=[2, 3])
    with pytest.raises(ConfigError, match=r"cutoff_layer=\[2, 3\] has no effect"):
        families.choose(open_checkpoint(model), model)


def test_the_record_of_a_single_layer_is_a_number_as_ever(folder: Path):
    assert pair_format(folder, 3).record["cutoff_layer"] == 3
    assert pair_format(folder, None).record["cutoff_layer"] == 6
    assert pair_format(folder, [3, 6]).record["cutoff_layer"] == [3, 6]


def test_the_layers_up_to_the_last_and_their_heads_are_loaded(folder: Path):
    loaded = load(folder, 128, 96, "model.cutoff_layer=[2, 4]")._engine.model
    assert len(loaded.model.layers) == 4
    # FlagEmbedding numbers the lightweight heads by place, MiniCPM's by layer.
    heads = {"LayerwiseMiniCPM": ["0", "2"], "LightweightGemma2": ["0", "1"]}
    assert list(loaded.lm_head) == heads[type(loaded).__name__]


# Scores


def test_preflight_looks_at_the_score_that_counts(folder: Path):
    scorer = load(folder, 128, 96, SEVERAL)
    pairs = [("how to sort", "sort a list"), ("how to sort", "open a file and read it")]
    by_layer = scorer.score_pairs(pairs)
    assert by_layer.shape == (2, 3)
    assert np.ptp(by_layer, axis=1).min() > 1e-3
    assert scorer.score_texts(pairs).values.tolist() == by_layer[:, 2].tolist()
    for one_by_one in (scorer.alone(pairs), scorer.reference(pairs)):
        np.testing.assert_allclose(one_by_one, by_layer[:, 2], rtol=1e-4, atol=1e-4)


def test_a_pair_is_computed_again_for_any_of_its_layers():
    values = np.array([[1, 2], [NAN, 3], [4, INF], [5, 6]], np.float32)
    asked: list[int] = []

    def redo(some: np.ndarray) -> list[list[float]]:
        asked.extend(some.tolist())
        return [[7.0, 8.0], [9.0, NAN]]

    found = rescue(values, redo)
    assert asked == [1, 2]
    assert found.rescued == 1
    expected = [[1, 2], [7, 8], [NAN, NAN], [5, 6]]
    assert np.array_equal(found.values, np.array(expected, np.float32), equal_nan=True)


def test_overflow_behind_one_layer_is_rescued_behind_all(folder: Path):
    scorer = load(folder, 128, 96, SEVERAL, "model.dtype=bfloat16")
    sequences = encoded(scorer)
    before = scorer.score(sequences).values
    length = sequences.tokens.lengths[4]

    def overflow(module: Any, given: Any, output: Any) -> Any:
        if module.get_input_embeddings().weight.dtype != torch.float32:
            lengths = next(value for value in given[1:] if value.dim() == 1)
            output[lengths == length, 0] = INF  # behind the first layer only
        return output

    scorer._engine.model.register_forward_hook(overflow)
    found = scorer.score(sequences)
    with in_float32(scorer._engine.model):
        exact = scorer._engine.alone(sequences, 4)
    others = np.arange(len(TEXTS)) != 4
    assert found.rescued == 1
    assert found.values[others].tobytes() == before[others].tobytes()
    assert found.values[4].tolist() == exact.tolist()
    assert (found.values[4] != before[4]).all()


def test_a_part_in_which_a_process_ended_has_all_layers(folder: Path):
    scorer = load(folder, 128, 96, SEVERAL)
    sequences = encoded(scorer)
    fatal = np.array([5])
    found = scorer.score_warily(sequences, fatal, np.array([1, 2]), lambda rows: None)
    expected = scorer.score(sequences).values
    expected[5] = NAN
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)


def test_chunks_are_combined_behind_each_layer_by_itself():
    values = np.array([[1, 9], [3, 8], [2, 7], [5, 5], [NAN, NAN], [1, 1]], np.float32)
    chunks = np.array([3, 1, 2], np.int32)
    expected = {"max": [[3, 9], [5, 5], [NAN, NAN]], "mean_top_k": [[2.5, 8.5], [5, 5], [NAN, NAN]]}
    for how, pairs in expected.items():
        model = ModelConfig(path="x", long_passage=how, top_k=2)
        assert np.array_equal(combine(values, chunks, model), np.float32(pairs), equal_nan=True)


def test_no_sequences_are_no_scores(folder: Path):
    scorer = load(folder, 128, 96, SEVERAL)
    none = np.zeros(0, np.int64)
    assert len(scorer.score(scorer.pair_format.encode([], [], none, none)).values) == 0


# Output


class Job:
    """What a part goes through between its replica and its file."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.config: Config = config("in", "out", SEVERAL, *overrides, model=folder)
        self.scorer = load(folder, 64, 20, SEVERAL, *overrides)

    def encoded(self, table: pa.Table) -> EncodedPart:
        schema = resolve_schema(table.schema, self.config, "shard")
        return encode_part(table, schema, self.scorer.pair_format, self.config)

    def scored(self, table: pa.Table, scores: Scores | None = None) -> ScoredPart:
        part = self.encoded(table)
        scores = scores or self.scorer.score(part.sequences)
        return ScoredPart.of(part, scores, self.config.model)

    def output(self, table: pa.Table, scores: Scores | None = None) -> pa.Table:
        schema = resolve_schema(table.schema, self.config, "shard")
        return output_table(self.scored(table, scores), schema, self.config.output)

    def expected(self, queries: list[str], passages: list[str]) -> dict[str, list[float]]:
        by_layer = self.scorer.score_pairs(list(zip(queries, passages, strict=True)))
        names = ["score_layer_2", "score_layer_3", "score"]
        return {name: by_layer[:, i].tolist() for i, name in enumerate(names)}


def test_flat_rows_get_a_column_a_layer(folder: Path):
    table = flat(4, passage=["a", "b c", None, "a"], query=["q"] * 4)
    found = Job(folder, "output.rank=true").output(table)
    assert found.column_names == [
        "query_id", "doc_id", "score", "score_layer_2", "score_layer_3", "rank", "status"
    ]  # fmt: skip
    expected = Job(folder).expected(["q", "q"], ["a", "b c"])
    for name in COLUMNS:
        assert found[name].type == pa.float32()
        first, second = expected[name]
        assert found[name].to_pylist()[:2] == pytest.approx([first, second], rel=1e-4)
        assert found[name].to_pylist()[2:] == [None, found[name][0].as_py()]
    assert (found["rank"][0].as_py() < found["rank"][1].as_py()) == (
        expected["score"][0] > expected["score"][1]
    )


def test_nested_rows_get_lists_a_layer(folder: Path):
    passages = pa.array([["a", None, "b c"], [], ["d"]])
    found = Job(folder).output(nested([3, 0, 1], query=["q"] * 3, passage=passages))
    expected = Job(folder).expected(["q"] * 3, ["a", "b c", "d"])
    for name in COLUMNS:
        first, second, third = expected[name]
        (one, null, two), empty, [three] = found[name].to_pylist()
        assert [one, two, three] == pytest.approx([first, second, third], rel=1e-4)
        assert (null, empty) == (None, [])
        assert found[name].type == pa.list_(pa.float32())


def test_pairs_without_a_finite_score_have_none_behind_any_layer(folder: Path):
    values = np.array([[1, 2, 3], [NAN, NAN, NAN]], np.float32)
    found = Job(folder).output(flat(2), Scores(values, 0))
    assert sorted(found["status"].to_pylist()) == ["not_finite", "scored"]
    for name, value in zip(("score_layer_2", "score_layer_3", "score"), (1, 2, 3), strict=True):
        assert set(found[name].to_pylist()) == {value, None}


def test_a_part_without_a_pair_to_score_has_the_columns(folder: Path):
    table = flat(3, passage=pa.array([None] * 3, pa.string()))
    found = Job(folder).output(table)
    for name in COLUMNS:
        assert found[name].to_pylist() == [None] * 3
        assert found[name].type == pa.float32()


def test_a_part_of_which_every_pair_ends_its_process_has_the_columns(folder: Path):
    job, table = Job(folder), flat(2)
    part = job.encoded(table)
    every = np.arange(len(part.sequences))
    scores = job.scorer.score_warily(part.sequences, every, every, lambda rows: None)
    found = job.output(table, scores)
    assert found["status"].to_pylist() == ["ends_process"] * 2
    assert [found[name].to_pylist() for name in COLUMNS] == [[None, None]] * 3


def test_long_passages_have_a_score_behind_each_layer(folder: Path):
    rng = random.Random(1)
    table = flat(2, query=["q", "q"], passage=["a b", words(150, rng)])
    settings = ("model.long_passage=max", "model.chunk_overlap=0")
    job = Job(folder, *settings)
    part = job.encoded(table)
    assert sorted(part.sequences.chunks)[1] > 2
    values = job.scorer.score(part.sequences).values
    long = int(np.argmax(part.sequences.chunks))
    first = int(part.sequences.chunks[:long].sum())
    best = values[first : first + part.sequences.chunks[long]].max(axis=0)
    found = job.output(table)
    for name, value in zip(("score_layer_2", "score_layer_3", "score"), best, strict=True):
        assert found[name][1].as_py() == pytest.approx(float(value), rel=1e-4)


def test_columns_are_named_after_the_score(folder: Path):
    found = Job(folder, "output.columns.score=teacher").output(flat(2))
    assert found.column_names[2:5] == ["teacher", "teacher_layer_2", "teacher_layer_3"]


def test_a_column_of_that_name_in_the_input_is_refused(folder: Path):
    table = flat(2, score_layer_3=[1.0, 2.0])
    said = r"'score_layer_3' has the name .* output\.columns\.score="
    with pytest.raises(InputError, match=said):
        resolve_schema(table.schema, config("in", "out", SEVERAL), "shard")
    resolve_schema(table.schema, config("in", "out", "model.cutoff_layer=[2, 6]"), "shard")
    resolve_schema(table.schema, config("in", "out", SEVERAL, "output.columns.score=s"), "shard")


# Proof


@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_every_layer_of_a_committed_file_is_checked(folder: Path, tmp_path: Path, layout: str):
    write(tmp_path / "in" / "a.parquet", flat(3) if layout == "flat" else nested([2, 1]))
    settings = config(tmp_path / "in", tmp_path / "out", SEVERAL, model=folder)
    plan, store = make_plan(settings), Store(settings.output.path)
    checkpoint = open_checkpoint(settings.model)
    family = families.recognise(checkpoint, "auto")
    found = families.FAMILIES[family].pair_format(checkpoint, settings.model)
    scoring = fingerprint(settings, checkpoint, found, family)
    run = json.loads(json.dumps(identity(scoring, plan, settings)))
    [(part, table)] = read_parts(list(plan.parts), plan.schema.columns)
    scored = Job(folder).scored(table)

    facts = commit(store, part, scored, plan.schema, settings.output, MEASURES, digest(run))
    columns = Columns.of_run(run)
    assert columns == Columns.of(plan.schema, settings.output, scored.layers)
    whole = pq.read_table(io.BytesIO(store.read(data_name(part.name))), columns=columns.names)
    assert check_content(whole, columns, facts) == []

    index = whole.column_names.index("score_layer_2")
    values = whole["score_layer_2"].combine_chunks()
    for bad in (NAN, None):
        pairs = (values.flatten() if layout == "nested" else values).to_pylist()
        spoiled = pa.array([bad, *pairs[1:]], pa.float32())
        if layout == "nested":
            spoiled = pa.ListArray.from_arrays(values.offsets, spoiled)
        [problem] = check_content(whole.set_column(index, "score_layer_2", spoiled), columns, facts)
        assert problem.startswith("score_layer_2: ")
