"""Tests for the check that a head whose weights look drawn was trained with its body."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from reranker_core.preflight.canaries import ENGLISH
from reranker_core.preflight.head import ALIGNED, IRRELEVANT, alignment, towards
from reranker_core.score.loading import load_scorer
from tests.checkpoints import bert_labels
from tests.tables import config

WIDTH = 256


def states(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What a body that was trained to rerank says: relevance along one direction, loudly."""
    noise = generator.normal(size=(16, WIDTH)) + 3
    noise[:8] += 5 * generator.normal(size=WIDTH)
    return noise[:8], noise[8:]


def test_drawn_heads_are_spread_alike_whatever_the_body_tells():
    generator = np.random.default_rng(0)
    relevant, irrelevant = states(generator)
    drawn = generator.normal(size=(20_000, WIDTH)) * 0.02
    found = np.array([alignment(head, relevant, irrelevant) for head in drawn])
    assert abs(found.mean()) < 0.03
    assert abs(found.std() - 1) < 0.03
    assert (found >= ALIGNED).mean() < 3e-4


def test_a_head_along_what_the_body_tells_stands_out_and_against_it_does_not():
    relevant, irrelevant = states(np.random.default_rng(0))
    trained = relevant.mean(0) - irrelevant.mean(0)
    assert alignment(trained, relevant, irrelevant) == pytest.approx(WIDTH**0.5)
    assert alignment(-trained, relevant, irrelevant) == pytest.approx(-(WIDTH**0.5))
    assert alignment(trained, relevant, relevant) == 0


def test_heads_with_several_labels_follow_the_same_law():
    generator = np.random.default_rng(0)
    relevant, irrelevant = states(generator)
    for label, rows in ((1, 2), (0, 3), (2, 5)):
        drawn = generator.normal(size=(10_000, rows, WIDTH)) * 0.02
        spread = [alignment(towards(head, label), relevant, irrelevant) for head in drawn]
        assert abs(np.mean(spread)) < 0.05
        assert abs(np.std(spread) - 1) < 0.05
    trained = drawn[0].copy()
    trained[label] += 0.01 * (relevant.mean(0) - irrelevant.mean(0))
    assert alignment(towards(trained, label), relevant, irrelevant) > ALIGNED
    assert alignment(towards(trained, 1), relevant, irrelevant) < 0


def found(model: Path, *more: str) -> list[bool]:
    """Whether the check passed, where it was made."""
    settings = (
        "model.device=cpu",
        "model.dtype=float32",
        "model.trust_remote_code=true",  # nemotron's
        "preflight.checks.meaning=off",
        *more,
    )
    report = load_scorer(config("in", "out", *settings, model=model)).report
    checks = [check for check in report.checks if check.group == "meaning"]
    return [check.passed for check in checks if check.name == "head_trained"]


HEADED = ("bert", "xlm_roberta", "modernbert", "distilbert", "qwen3_classifier", "nemotron")
LAYERED = ("minicpm_layerwise", "gemma2_lightweight")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*HEADED, *LAYERED])
def test_every_family_with_a_head_has_it_looked_at(name: str, request: pytest.FixtureRequest):
    assert found(request.getfixturevalue(name)) == [False]


@pytest.mark.parametrize("names", [("irrelevant", "relevant"), ("no", "maybe", "yes")])
def test_a_head_with_several_labels_is_looked_at_by_its_labels_row(
    names: tuple[str, ...], tmp_path: Path
):
    folder = bert_labels(tmp_path / "model", *names)
    assert found(folder, f"model.label={names[-1]}") == [False]
    towards_relevant, file = told(folder), folder / "model.safetensors"
    weights = load_file(file)
    # Rows as long as drawn ones: the last towards what the body tells, the others away from it.
    row = towards_relevant / towards_relevant.norm() * weights["classifier.weight"][-1].norm()
    weights["classifier.weight"] = torch.stack([-row] * (len(names) - 1) + [row])
    save_file(weights, file, {"format": "pt"})
    assert found(folder, f"model.label={names[-1]}") == [True]
    assert found(folder, f"model.label={names[0]}") == [False]


def told(folder: Path) -> torch.Tensor:
    """From what a head reads of irrelevant canaries to what it reads of relevant ones."""
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        read = [
            model(
                **tokenizer(*pair, truncation="only_second", max_length=130, return_tensors="pt")
            ).pooler_output[0]
            for pair in (*ENGLISH, *IRRELEVANT)
        ]
    relevant, irrelevant = torch.stack(read).chunk(2)
    return relevant.mean(0) - irrelevant.mean(0)


@pytest.mark.parametrize("name", ["gemma", "monot5"])
def test_answers_are_no_head(name: str, request: pytest.FixtureRequest):
    assert found(request.getfixturevalue(name)) == []
