"""How an encoder reranker makes ids of a pair, and scores of ids."""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from reranker_core.config import ModelConfig, load_config
from reranker_core.encode.formats.joined import JoinedFormat
from reranker_core.encode.sequences import TokenSequences
from reranker_core.errors import ConfigError, PreflightRefused
from reranker_core.models import encoder
from reranker_core.models.checkpoint import Checkpoint, open_checkpoint
from reranker_core.score.batching import make_batch
from reranker_core.score.loading import load_scorer
from tests.checkpoints import LONGEST, TEXTS

ALL = ["bert", "xlm_roberta", "modernbert", "distilbert", "electra"]
PAIRS = [*zip(TEXTS, reversed(TEXTS), strict=True), ("", TEXTS[0]), (TEXTS[0], ""), ("", "")]


@pytest.fixture(params=ALL)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def opened(folder: Path, **settings: Any) -> tuple[Checkpoint, ModelConfig]:
    model = ModelConfig(path=str(folder), **settings)
    return open_checkpoint(model), model


def pair_format(folder: Path, **settings: Any) -> JoinedFormat:
    return encoder.pair_format(*opened(folder, **settings))


def encode(found: JoinedFormat, pairs: list[tuple[str, str]]) -> TokenSequences:
    index = np.arange(len(pairs))
    queries, passages = map(list, zip(*pairs, strict=True))
    return found.encode(queries, passages, index, index)


def runs(sequences: TokenSequences) -> list[list[int]]:
    tokens = sequences.tokens
    return [run.tolist() for run in np.split(tokens.values, np.cumsum(tokens.lengths)[:-1])]


@cache
def load(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    return encoder.load(*opened(folder), dtype, "cpu").model.eval()


def forward(folder: Path, dtype: torch.dtype, pairs: list[tuple[str, str]]) -> torch.Tensor:
    sequences = encode(pair_format(folder), pairs)
    rows, width = np.arange(len(pairs)), int(sequences.tokens.lengths.max())
    batch = make_batch(sequences, rows, width, 0, torch.device("cpu"))
    with torch.inference_mode():
        return encoder.forward(load(folder, dtype), batch)


def test_ids_of_pairs_that_fit_equal_the_tokenizers_own(folder: Path):
    found = pair_format(folder, max_length=LONGEST, query_max_length=LONGEST - 10)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = tokenizer(PAIRS)["input_ids"]
    fitting = [i for i, ids in enumerate(expected) if len(ids) <= LONGEST]
    assert len(fitting) > 10
    assert runs(encode(found, [PAIRS[i] for i in fitting])) == [expected[i] for i in fitting]


def test_only_the_passage_is_cut(folder: Path):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = pair_format(folder, max_length=40, query_max_length=20)
    query = tokenizer(TEXTS[0], add_special_tokens=False)["input_ids"][:20]
    [ids] = runs(encode(found, [(TEXTS[0], " ".join(TEXTS))]))
    begin = len(found.around.prefix)
    assert len(ids) == 40
    assert ids[begin : begin + len(query)] == query


def test_no_pair_is_longer_than_max_length(folder: Path):
    long = " ".join(TEXTS)
    for truncation in ("only_passage", "longest_first"):
        found = pair_format(folder, max_length=32, truncation=truncation)
        lengths = encode(found, [*PAIRS, (long, long), (long, ""), ("", long)]).tokens.lengths
        assert lengths.max() == 32


@pytest.mark.parametrize("max_length", [8, 10, 16])
def test_a_small_max_length_alone_leaves_room_for_the_passage(folder: Path, max_length: int):
    found = pair_format(folder, max_length=max_length)
    (ids,) = runs(encode(found, [("many words " * 9, "a passage " * 9)]))
    assert len(ids) == max_length
    assert found.query_max_length < max_length - found.around.specials


def test_lengths_that_do_not_fit_are_told_with_lengths_that_do(folder: Path):
    with pytest.raises(ConfigError) as caught:
        pair_format(folder, max_length=16, query_max_length=15)
    (least,) = re.findall(r"model.max_length to at least (\d+)", str(caught.value))
    (most,) = re.findall(r"query_max_length to at most (\d+)", str(caught.value))
    assert pair_format(folder, max_length=int(least), query_max_length=15)
    assert pair_format(folder, max_length=16, query_max_length=int(most))


def test_shared_texts_give_the_ids_of_each_pair(folder: Path):
    found = pair_format(folder)
    query_of, passage_of = np.array([1, 0, 1, 1]), np.array([0, 2, 2, 0])
    shared = found.encode(list(TEXTS[:2]), list(TEXTS[3:6]), query_of, passage_of)
    pairs = [(TEXTS[q], TEXTS[3 + p]) for q, p in zip(query_of, passage_of, strict=True)]
    assert runs(shared) == runs(encode(found, pairs))


def test_no_pairs(folder: Path):
    nothing = np.array([], np.int64)
    assert len(pair_format(folder).encode([], [], nothing, nothing)) == 0


@pytest.mark.parametrize("name", ["bert", "electra"])
def test_the_passage_starts_where_the_tokenizers_token_types_change(
    name: str, request: pytest.FixtureRequest
):
    folder = request.getfixturevalue(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    short = [(query[:20], passage[:40]) for query, passage in PAIRS]
    expected = [types.index(1) for types in tokenizer(short)["token_type_ids"]]
    assert encode(pair_format(folder), short).passage_starts.tolist() == expected


def test_forward_equals_the_model_on_the_tokenizers_own_input(folder: Path):
    short = [(query[:20], passage[:30]) for query, passage in PAIRS]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = model(**tokenizer(short, padding=True, return_tensors="pt")).logits[:, 0]
    torch.testing.assert_close(forward(folder, torch.float32, short), expected)


def test_token_types_are_those_of_the_tokenizer_not_of_the_model(
    bert: Path, xlm_roberta: Path, tmp_path: Path
):
    # As microsoft/Multilingual-MiniLM: a BERT with the tokenizer of an XLM-RoBERTa, without types.
    folder = shutil.copytree(bert, tmp_path / "mixed")
    for file in xlm_roberta.glob("tokenizer*"):
        shutil.copy(file, folder)
    test_forward_equals_the_model_on_the_tokenizers_own_input(folder)


@pytest.mark.parametrize("truncation", ["only_passage", "longest_first"])
def test_a_tokenizer_that_truncates_from_the_left_keeps_the_end(
    bert: Path, tmp_path: Path, truncation: str
):
    folder = shutil.copytree(bert, tmp_path / "left")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"truncation_side": "left"}))
    query, passage = TEXTS[0], " ".join(TEXTS[:5])
    expected = AutoTokenizer.from_pretrained(folder)(
        query,
        passage,
        max_length=64,
        truncation="only_second" if truncation == "only_passage" else truncation,
    )["input_ids"]
    found = pair_format(folder, max_length=64, truncation=truncation)
    assert runs(encode(found, [(query, passage)])) == [expected]


def test_scores_are_float32_and_one_a_pair(folder: Path):
    scores = forward(folder, torch.bfloat16, [("a", "b"), ("b", "a"), ("a", "a")])
    assert scores.dtype == torch.float32
    assert scores.shape == (3,)


def test_scores_of_bfloat16_are_not_rounded_to_bfloat16(folder: Path):
    pairs = [(query[:20], passage[:30]) for query, passage in PAIRS]
    scores = forward(folder, torch.bfloat16, pairs)
    assert (scores == scores.bfloat16().float()).float().mean() < 0.2


def test_a_whole_checkpoint_misses_nothing(folder: Path):
    loaded = encoder.load(*opened(folder), torch.float32, "cpu")
    assert (loaded.missing, loaded.unexpected, loaded.mismatched) == ((), (), ())


def test_max_length_defaults_to_what_the_model_takes(folder: Path):
    found = pair_format(folder)
    assert (found.max_length, found.query_max_length) == (LONGEST, LONGEST * 3 // 4)


def test_max_length_defaults_to_at_most_512(modernbert: Path, tmp_path: Path):
    folder = shutil.copytree(modernbert, tmp_path / "long")
    for name, key in [
        ("config.json", "max_position_embeddings"),
        ("tokenizer_config.json", "model_max_length"),
    ]:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | {key: 8192}))
    assert pair_format(folder).max_length == 512


def test_more_tokens_than_positions_are_refused(folder: Path):
    with pytest.raises(ConfigError, match=f"at most {LONGEST}"):
        pair_format(folder, max_length=LONGEST + 1)


def test_a_configured_length_may_exceed_the_limit_of_the_tokenizer(folder: Path, tmp_path: Path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 40}))
    assert pair_format(copy).max_length == 40
    assert pair_format(copy, max_length=LONGEST).max_length == LONGEST


@pytest.mark.parametrize("name", ["bert", "xlm_roberta", "distilbert", "electra"])
def test_positions_are_counted_without_the_tokenizers_help(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
):
    folder = shutil.copytree(request.getfixturevalue(name), tmp_path / "copy")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": int(1e30)}))
    assert pair_format(folder).max_length == LONGEST


def test_the_longest_pair_that_is_allowed_can_be_scored(folder: Path):
    long = " ".join(TEXTS)
    assert encode(pair_format(folder), [(long, long)]).tokens.lengths.tolist() == [LONGEST]
    assert torch.isfinite(forward(folder, torch.float32, [(long, long)])).all()


def test_a_query_that_leaves_no_room_for_a_passage_is_refused(folder: Path):
    with pytest.raises(ConfigError, match="query_max_length=30"):
        pair_format(folder, max_length=32, query_max_length=30)


def test_a_query_may_take_all_but_one_token(folder: Path):
    found = pair_format(folder, max_length=32, query_max_length=12)
    specials = len(found.around.prefix) + len(found.around.middle) + len(found.around.suffix)
    pair_format(folder, max_length=32, query_max_length=31 - specials)
    with pytest.raises(ConfigError):
        pair_format(folder, max_length=32, query_max_length=32 - specials)


def test_a_folder_without_a_tokenizer_is_refused(bert: Path, tmp_path: Path):
    folder = shutil.copytree(bert, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*"))
    config = load_config(None, ["input.path=unused", "output.path=unused", f"model.path={folder}"])
    with pytest.raises(PreflightRefused, match="tokenizer/vocabulary_present"):
        load_scorer(config)


@pytest.mark.parametrize(
    ("architecture", "fits"),
    [
        ("BertForSequenceClassification", True),
        ("NewForSequenceClassification", True),
        ("BertModel", False),
        ("GemmaForCausalLM", False),
        ("", False),
    ],
)
def test_only_classifiers_are_encoder_rerankers(tmp_path: Path, architecture: str, fits: bool):
    config = {"architectures": [architecture]}
    found = Checkpoint(tmp_path, str(tmp_path), None, config, ())
    assert encoder.fits(found) is fits
