"""Checks of the arithmetic: finite, repeatable, the same in any batch and number format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from reranker_core.errors import PreflightRefused
from reranker_core.models.scores import Scores
from reranker_core.preflight.canaries import (
    Pair,
)
from reranker_core.preflight.numerics import check_numerics
from tests import damage
from tests.unit.preflight.probes import Model, canaries, right
from tests.unit.preflight.refusing import load, overflow


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


@pytest.mark.parametrize(
    ("in_batches", "alone", "accepted"),
    [
        (0.02, -0.02, True),  # both are as far from float32
        (0.04, 0.0, False),  # float32 says that it is not rounding
        (0.0, 0.04, True),
        (-0.06, 0.06, False),  # whatever the rounding
    ],
)
def test_in_half_precision_batches_may_round_as_much_as_a_pair_alone(
    in_batches: float, alone: float, accepted: bool
):
    def off(by: float) -> Callable[[Sequence[Pair]], np.ndarray]:
        return lambda pairs: right(pairs) * (1 + by)

    model = Model(off(in_batches), alone=off(alone), exact=right)
    model.dtype = "bfloat16"
    assert canaries(model)["same_alone_and_in_a_batch"] is accepted
    model.dtype = "float32"
    assert not canaries(model)["same_alone_and_in_a_batch"]


@pytest.mark.parametrize(("packed", "remedy"), [(False, "padding is not masked"), (True, "padded")])
def test_the_remedy_suits_batches_without_padding(packed: bool, remedy: str):
    model = Model(right, alone=lambda pairs: right(pairs) * 2)
    model.packed = packed
    checks, _ = check_numerics(model)
    (failed,) = (check for check in checks if check.name == "same_alone_and_in_a_batch")
    assert not failed.passed
    assert remedy in str(failed)


def test_a_full_batch_of_the_longest_pairs_is_tried():
    asked: list[int] = []

    def rank(pairs: Sequence[Pair]) -> np.ndarray:
        passages = [passage for _, passage in pairs if passage]
        if all(len(passage.split()) >= Model.max_length for passage in passages):
            asked.append(len(passages))
        return right(pairs)

    canaries(rank)
    assert asked == [Model.largest_batch]


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


def test_auto_takes_the_first_number_format_that_passes(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    formats = {"float16": "fast", "float32": "the fallback"}
    monkeypatch.setattr(
        "reranker_core.score.loading.number_formats", lambda configured, device: formats
    )
    settings = ("model.dtype=auto", "preflight.checks.numerics=refuse")
    model = damage.with_weights(bert, tmp_path / "m", overflow)
    report = load(model, *settings).report
    assert report.dtype == "float32"
    assert report.dtype_reason.startswith("float16 failed numerics/finite")
