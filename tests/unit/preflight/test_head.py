"""Tests for the check that a head whose weights look drawn was trained with its body."""

from pathlib import Path

import numpy as np
import pytest

from reranker_core.preflight.head import ALIGNED, alignment
from reranker_core.score.scorer import Scorer
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


def found(model: Path) -> list[bool]:
    """Whether the check passed, where it was made."""
    settings = (
        "model.device=cpu",
        "model.dtype=float32",
        "model.trust_remote_code=true",  # nemotron's
        "preflight.checks.meaning=off",
    )
    report = Scorer.load(config("in", "out", *settings, model=model)).report
    checks = [check for check in report.checks if check.group == "meaning"]
    return [check.passed for check in checks if check.name == "head_trained"]


HEADED = ("bert", "xlm_roberta", "modernbert", "distilbert", "qwen3_classifier", "nemotron")
LAYERED = ("minicpm_layerwise", "gemma2_lightweight")


@pytest.mark.parametrize("name", [*HEADED, *LAYERED])
def test_every_family_with_a_head_has_it_looked_at(name: str, request: pytest.FixtureRequest):
    assert found(request.getfixturevalue(name)) == [False]


@pytest.mark.parametrize("name", ["gemma", "monot5"])
def test_answers_are_no_head(name: str, request: pytest.FixtureRequest):
    assert found(request.getfixturevalue(name)) == []
