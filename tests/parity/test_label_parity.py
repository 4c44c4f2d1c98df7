"""Heads with several labels: the score is the log-odds of the one that means relevant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError, PreflightRefused
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.encoder import pair_format
from reranker_core.models.labels import relevant_label
from reranker_core.preflight.architecture import check_architecture
from tests import checkpoints, damage, decoder_checkpoints
from tests.checkpoints import LONGEST
from tests.parity.common import assert_same, encode, load, sample_pairs
from tests.tables import config

TWO = ("not_relevant", "relevant")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.bert_labels(tmp_path_factory.mktemp("two"), *TWO)


def cross_encoder_logits(folder: Path, pairs: list[tuple[str, str]]) -> np.ndarray:
    """Shape (pairs, labels)."""
    reference = CrossEncoder(
        str(folder), device="cpu", max_length=LONGEST, activation_fn=torch.nn.Identity()
    )
    return reference.predict(pairs, show_progress_bar=False)


def test_two_labels_score_as_cross_encoders_logits_differ(two: Path):
    pairs = sample_pairs(LONGEST, None)
    logits = cross_encoder_logits(two, pairs)
    scores = load(two, LONGEST, None, "model.truncation=longest_first").score_pairs(pairs)
    assert_same(scores, logits[:, 1] - logits[:, 0])


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_label_of_three_scores_its_log_odds(tmp_path: Path, label: int):
    folder = checkpoints.bert_labels(tmp_path, "contradiction", "entailment", "neutral")
    pairs = sample_pairs(LONGEST, None)
    logits = cross_encoder_logits(folder, pairs).astype(np.float64)
    probability = np.exp(logits[:, label]) / np.exp(logits).sum(1)
    by_number = load(
        folder, LONGEST, None, "model.truncation=longest_first", f"model.label={label}"
    )
    assert_same(by_number.score_pairs(pairs), np.log(probability / (1 - probability)))


def test_a_label_may_be_named(two: Path):
    pairs = sample_pairs(64, None)[:10]
    named = load(two, 64, None, "model.label=not_relevant").score_pairs(pairs)
    assert np.array_equal(named, -load(two, 64, None).score_pairs(pairs))


def test_a_decoder_with_two_labels(tmp_path: Path):
    folder = decoder_checkpoints.qwen3_labels(tmp_path, *TWO)
    pairs = sample_pairs(64, None)[:20]
    scorer = load(folder, 300, None)
    model = AutoModelForSequenceClassification.from_pretrained(folder).double().eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    with torch.inference_mode():
        logits = [model(torch.tensor([ids])).logits[0] for ids in encode(scorer, pairs)]
    assert_same(scorer.score_pairs(pairs), [float(two[1] - two[0]) for two in logits])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("irrelevant", "relevant"), 1),
        (("Relevant", "Not relevant"), 0),
        (("non-relevant", "relevant"), 1),
        (("LABEL_0", "LABEL_1"), None),
        (("negative", "positive"), None),
        (("relevant", "very relevant"), None),
        (("irrelevant", "relevant", "perfect"), None),
        (("relevant",), None),
    ],
)
def test_the_relevant_label_is_known_by_its_name(
    two: Path, tmp_path: Path, names: tuple[str, ...], expected: int | None
):
    named = dict(enumerate(names))
    folder = damage.with_config(two, tmp_path / "m", id2label=named, label2id=None)
    model = ModelConfig(path=str(folder))
    assert relevant_label(open_checkpoint(model), model) == expected


def label_check(folder: Path, **settings: object) -> tuple[bool, str]:
    model = ModelConfig(path=str(folder), **settings)
    checks = {check.name: check for check in check_architecture(open_checkpoint(model), model)}
    return checks["one_label"].passed, str(checks["one_label"])


def test_labels_without_a_telling_name_are_refused_with_a_remedy_that_works(
    two: Path, tmp_path: Path
):
    folder = damage.with_config(two, tmp_path / "m", id2label=None, label2id=None)
    passed, said = label_check(folder)
    assert not passed
    assert "set model.label to its number" in said
    assert label_check(folder, label=1)[0]
    pairs = sample_pairs(64, None)[:10]
    assert np.array_equal(
        load(folder, 64, None, "model.label=1").score_pairs(pairs),
        load(two, 64, None).score_pairs(pairs),
    )


def test_a_label_that_is_not_there_is_an_error(two: Path, bert: Path):
    for folder, label in ((two, 2), (two, "yes"), (two, -1), (bert, 1)):
        with pytest.raises(ConfigError, match="no such label"):
            label_check(folder, label=label)


def test_a_label_is_part_of_the_fingerprint(two: Path, bert: Path):
    def record(folder: Path, **settings: object) -> dict[str, object]:
        model = ModelConfig(path=str(folder), **settings)
        return pair_format(open_checkpoint(model), model).record

    assert record(two)["label"] == 1
    assert record(two, label=0)["label"] == 0
    assert "label" not in record(bert)
    assert "label" not in record(bert, label=0)


def test_preflight_accepts_two_labels_and_refuses_a_head_with_one_row(two: Path, tmp_path: Path):
    from reranker_core.score.loading import load_scorer

    off = "preflight.checks.meaning=off"
    settings = ("model.dtype=float32", "model.device=cpu", off)
    load_scorer(config("in", "out", *settings, model=two))

    def one_row(weights: damage.Weights) -> None:
        weights["classifier.weight"] = weights["classifier.weight"][:1].clone()
        weights["classifier.bias"] = weights["classifier.bias"][:1].clone()

    folder = damage.with_weights(two, tmp_path / "m", one_row)
    with pytest.raises(PreflightRefused, match="weights/shapes"):
        load_scorer(config("in", "out", *settings, model=folder))
