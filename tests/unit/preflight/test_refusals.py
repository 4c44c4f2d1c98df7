"""Checkpoints that are refused, beside those of `tests/faults/zoo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reranker_core.checks import Check
from reranker_core.score.scorer import Scorer
from tests import damage
from tests.unit.preflight.refusing import HEAD, INNER, failures, load, only, refused, zero_head


def test_a_vocabulary_without_capitals_must_lower_them(bert: Path, tmp_path: Path):
    model = damage.with_config(bert, tmp_path / "m")
    path = model / "tokenizer.json"
    given = json.loads(path.read_text())
    given["normalizer"]["lowercase"] = False
    path.write_text(json.dumps(given))
    error = refused(model)
    assert "tokenizer/knows_words" in failures(error)
    assert "of the tokens of the same text in capitals" in str(error)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"hidden_act": "linear"}, "hidden_act linear"),
        ({"layer_norm_eps": 1.0}, "layer_norm_eps 1"),
        ({"is_decoder": True}, "is_decoder true"),
        ({"hidden_act": "relu", "layer_norm_eps": 1e-5}, ""),
    ],
)
def test_settings_that_no_trained_model_has_are_refused(
    bert: Path, tmp_path: Path, setting: dict[str, Any], told: str
):
    model = damage.with_config(bert, tmp_path / "m", **setting)
    if not told:
        load(model)
        return
    error = refused(model)
    assert failures(error) == {"architecture/usual_settings"}
    assert told in str(error)


def test_a_key_that_the_class_does_not_heed_is_no_matter(deberta: Path, tmp_path: Path):
    load(damage.with_config(deberta, tmp_path / "m", is_decoder=True))


def test_a_config_that_names_no_labels_has_two(bert: Path, tmp_path: Path):
    model = damage.with_config(bert, tmp_path / "m", id2label=None, label2id=None)
    assert "architecture/one_label" in failures(refused(model))


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("BertModel", "embedding model"),
        ("BertForMaskedLM", "masked language model"),
        ("Qwen3Model", "embedding model"),
        ("Whatever", "not a supported reranker"),
        (None, "names no class"),
    ],
)
def test_other_architectures_are_refused_by_name(
    bert: Path, tmp_path: Path, architecture: str | None, said: str
):
    named = [architecture] if architecture else None
    error = refused(damage.with_config(bert, tmp_path / "m", architectures=named))
    assert failures(error) == {"architecture/has_a_score"}
    assert said in str(error)


@pytest.mark.parametrize(
    ("settings", "architecture", "remedy"),
    [
        ((), None, "add `architectures`"),
        (
            ("model.family=llm", "model.template=bge-gemma"),
            "BertForSequenceClassification",
            "Remove model.family=llm",
        ),
        ((), "JinaForRanking", "rank a list of passages at once"),
        ((), "Qwen3VLForConditionalGeneration", "read images"),
        ((), "BertForTokenClassification", "another task"),
        ((), "BertModel", "Use the reranker of the same model series"),
    ],
)
def test_what_is_no_reranker_is_told_what_to_do(
    bert: Path, tmp_path: Path, settings: tuple[str, ...], architecture: str | None, remedy: str
):
    named = [architecture] if architecture else None
    folder = damage.with_config(bert, tmp_path / "m", architectures=named)
    assert remedy in str(refused(folder, *settings))


def test_missing_weights_of_the_body_are_not_taken_for_an_embedding_model(
    bert: Path, tmp_path: Path
):
    for number, (name, said) in enumerate(((INNER, "incomplete"), (HEAD, "embedding model"))):
        folder = damage.with_weights(
            bert, tmp_path / str(number), lambda weights, n=name: weights.pop(n)
        )
        told = str(refused(folder))
        assert said in told


def test_weights_of_which_no_name_fits_are_not_taken_for_an_embedding_model(
    bert: Path, tmp_path: Path
):
    def two(weights: damage.Weights) -> None:
        for name in [*weights]:
            weights[f"teacher.{name}"] = weights[name].clone()
            weights[f"student.{name}"] = weights.pop(name)

    error = refused(damage.with_weights(bert, tmp_path / "m", two))
    assert "weights/none_missing" in failures(error)
    assert "No name in the files is one of this model." in str(error)
    assert "embedding model" not in str(error)


def test_a_base_model_is_refused_by_its_weights_when_its_name_is_not_enforced(
    bert: Path, tmp_path: Path
):
    def base(weights: damage.Weights) -> None:
        del weights[HEAD], weights["classifier.bias"]

    model = damage.with_weights(bert, tmp_path / "base", base)
    model = damage.with_config(model, tmp_path / "m", architectures=["BertModel"])
    error = refused(model, *only("weights"))
    assert "weights/none_missing" in str(error)
    assert "head_trained" not in str(error)  # there are no weights that it could judge
    assert "architecture/has_a_score" not in str(error)


@pytest.mark.parametrize("left", [0, 5, 1000])
def test_weights_without_their_header_are_refused(bert: Path, tmp_path: Path, left: int):
    content = (bert / "model.safetensors").read_bytes()[:left]
    error = refused(damage.with_file(bert, tmp_path / "m", "model.safetensors", content))
    assert failures(error) == {"files/weights_present"}
    assert "model.safetensors" in str(error)


def test_a_head_that_ignores_its_input_is_refused(bert: Path, tmp_path: Path):
    model = damage.with_weights(bert, tmp_path / "m", zero_head)
    assert failures(refused(model)) == {"weights/head_trained"}
    unweighed = ("preflight.checks.weights=warn", "preflight.checks.meaning=refuse")
    assert "meaning/not_constant" in failures(refused(model, *unweighed))


def test_a_trained_head_may_have_a_bias_of_0(bert: Path, tmp_path: Path):
    def edit(weights: damage.Weights) -> None:
        weights[HEAD] *= 2
        weights["classifier.bias"].zero_()

    load(damage.with_weights(bert, tmp_path / "m", edit))


@pytest.mark.parametrize("kind", ["qwen3", "monot5"])
def test_output_embeddings_that_are_not_tied_as_said_are_used_and_reported(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
):
    source = request.getfixturevalue(kind)

    def own(weights: damage.Weights) -> None:
        table = next(
            weights[n] for n in ("model.embed_tokens.weight", "shared.weight") if n in weights
        )
        weights["lm_head.weight"] = table.flip(0).clone()

    tied, untied = damage.with_weights(source, tmp_path / "m", own), tmp_path / "untied"
    damage.with_config(tied, untied, tie_word_embeddings=False)
    pairs = [("sort a list", "Sorts the list in place."), ("read", "The capital is Paris.")]
    found = {folder: load(folder) for folder in (source, tied, untied)}
    told = {f: _check(scorer, "tied_as_said").notable for f, scorer in found.items()}
    assert told == {source: False, tied: True, untied: False}
    assert "lm_head.weight" in _check(found[tied], "tied_as_said").measured
    scores = {folder: scorer.score_pairs(pairs).tolist() for folder, scorer in found.items()}
    assert scores[tied] == scores[untied] != scores[source]


def _check(scorer: Scorer, name: str) -> Check:
    return next(check for check in scorer.report.checks if check.name == name)
