"""Checks that scores mean relevance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reranker_core.config import PreflightConfig
from reranker_core.errors import ConfigError
from reranker_core.preflight.canaries import (
    ENGLISH,
    LANGUAGES,
    LONG,
    QUESTIONS,
    REPORTED,
    TECHNICAL,
    Pair,
    grid,
    hard_canaries,
)
from reranker_core.preflight.meaning import check_meaning
from tests.unit.preflight.probes import Model, canaries, knows, right
from tests.unit.preflight.refusing import failures, refused


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


def test_random_weights_do_not_rank(bert: Path):
    error = refused(bert, "preflight.checks.meaning=refuse")
    assert failures(error) == {
        "meaning/head_trained",
        "meaning/relevant_above_irrelevant",
        "meaning/relevant_clearly_above",
        "meaning/hard_comparisons",
    }


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


def test_hard_questions_of_another_language_are_asked_where_it_is_asked_for():
    def without(lost: int) -> Any:
        unknown = set(sorted(knows("zh"))[:lost])
        return lambda pairs: right(pairs) * [pair not in unknown for pair in pairs]

    for lost, passed in ((0, True), (2, True), (3, False), (12, False)):
        found = canaries(without(lost), languages=["zh", "de"])
        assert found["hard_questions"] == passed
        assert "hard_comparisons" not in found  # of English
        assert found["relevant_above_irrelevant"]
    both = canaries(right, languages=["en", "zh"])
    assert both["hard_questions"]
    assert both["hard_comparisons"]
    assert "hard_questions" not in canaries(without(12), languages=["en"])
    unchecked = {"meaning": "off"}
    assert "hard_questions" not in canaries(without(12), languages=["zh"], checks=unchecked)


def test_hard_canaries_are_many_and_never_stand_on_both_sides():
    for kind in (TECHNICAL, QUESTIONS):
        entries = hard_canaries(kind)
        assert sum(len(good) * len(bad) for _, good, bad in entries) > 250
        assert len({query for query, _, _ in entries}) == len(entries)
        assert not any(set(good) & set(bad) for _, good, bad in entries)
    for language in set(LANGUAGES) - {"en"}:
        entries = hard_canaries(language)
        assert sum(len(good) * len(bad) for _, good, bad in entries) >= 27
        assert len({query for query, _, _ in entries}) == len(entries)
        assert not any(set(good) & set(bad) for _, good, bad in entries)


def test_what_many_models_are_weak_in_is_reported_and_not_required():
    model = Model(right)
    found, _ = check_meaning(model, model.score_texts(grid(ENGLISH)), PreflightConfig())
    (check,) = [check for check in found if check.name == "abilities"]
    assert check.passed
    for kind in (*REPORTED, LONG):
        assert f"{kind} 0 of " in check.measured


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
