"""No NaN or Inf leaves a replica as a score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reranker_core.errors import PreflightRefused
from reranker_core.score.guard import FEW, require_few, rescue
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from tests import damage
from tests.tables import config

NAN, INF = float("nan"), float("inf")
PAIRS = [(f"query {i}", f"{'word ' * i}passage") for i in range(12)]


def array(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_exactly_the_scores_that_are_not_finite_are_redone():
    asked: list[int] = []

    def redo(some: np.ndarray) -> np.ndarray:
        asked.extend(some.tolist())
        return 10.0 + some

    found = rescue(array(0.1, NAN, 0.3, INF, -INF, 0.6), redo)
    assert asked == [1, 3, 4]
    assert found.values.tolist() == array(0.1, 11, 0.3, 13, 14, 0.6).tolist()
    assert found.rescued == 3


def test_finite_scores_are_left_to_the_last_bit():
    values = np.random.default_rng(0).normal(size=100).astype(np.float32)
    spoiled = values.copy()
    spoiled[[3, 50]] = NAN
    found = rescue(spoiled, np.zeros_like).values
    kept = np.delete(np.arange(100), [3, 50])
    assert found[kept].tobytes() == values[kept].tobytes()


@pytest.mark.parametrize("again", [NAN, INF, -INF])
def test_what_stays_not_finite_is_nan(again: float):
    found = rescue(array(1, INF, 3), lambda some: [again])
    assert np.array_equal(found.values, array(1, NAN, 3), equal_nan=True)
    assert found.rescued == 0


def test_only_the_rescued_count():
    found = rescue(array(NAN, NAN, NAN), lambda some: [1.0, NAN, 2.0])
    assert found.rescued == 2


def test_nothing_is_redone_when_all_is_finite():
    values = array(1, 2)
    assert rescue(values, lambda some: pytest.fail("asked")).values is values


def test_no_scores_are_no_work():
    assert rescue(array(), lambda some: pytest.fail("asked")).rescued == 0


def test_the_given_scores_are_not_changed():
    values = array(1, NAN)
    rescue(values, lambda some: [5.0])
    assert np.isnan(values[1])


def test_at_most_so_many_are_redone():
    found = rescue(array(NAN, 1, NAN, INF), lambda some: [5.0] * len(some), most=2)
    assert np.array_equal(found.values, array(5, 1, 5, NAN), equal_nan=True)
    assert found.rescued == 2


@pytest.mark.parametrize("shape", [(4000,), (4000, 3)])
def test_a_number_format_with_many_scores_that_are_not_finite_is_refused(shape: tuple[int, ...]):
    values = np.zeros(shape, np.float32)
    values[:200] = NAN
    require_few(values, "float16")
    values[200] = INF
    require_few(values, "float32")
    with pytest.raises(PreflightRefused, match=r"201 scores of 4,000 .* in float16") as refused:
        require_few(values, "float16")
    assert refused.value.failed("numerics") == ["numerics/finite"]
    require_few(values[:FEW], "float16")


def load(model: Path, dtype: str) -> Scorer:
    relaxed = ("preflight.checks.meaning=off", "preflight.checks.numerics=off")
    settings = (f"model.dtype={dtype}", "model.device=cpu", *relaxed, "score.max_batch_tokens=64")
    return load_scorer(config("in", "out", *settings, model=model))


def spoil(scorer: Scorer, pairs: list[int], in_float32: bool) -> None:
    """Make the model give NaN for some of PAIRS, in float32 too or not."""
    tokens = encoded(scorer).tokens
    runs = np.split(tokens.values, tokens.starts[1:])
    chosen = [runs[pair].tolist() for pair in pairs]

    def hook(module: torch.nn.Module, args: Any, given: dict[str, Any], output: Any) -> Any:
        dtype = module.get_input_embeddings().weight.dtype
        if in_float32 or dtype != torch.float32:
            for row, ids in enumerate(rows_of(**given)):
                if ids.tolist() in chosen:
                    output.logits[row] = NAN
        return output

    scorer._engine.model.register_forward_hook(hook, with_kwargs=True)


def rows_of(input_ids: torch.Tensor, **given: Any) -> list[torch.Tensor]:
    """The ids of each sequence of a batch, padded or packed."""
    if "packing" in given:
        return list(input_ids[0].split(given["packing"].starts.diff().tolist()))
    rows = zip(input_ids, given["attention_mask"].bool(), strict=True)
    return [ids[mask] for ids, mask in rows]


def encoded(scorer: Scorer) -> Any:
    index = np.arange(len(PAIRS))
    queries, passages = zip(*PAIRS, strict=True)
    return scorer.pair_format.encode(list(queries), list(passages), index, index)


@pytest.mark.slow
def test_rows_that_overflow_are_scored_in_float32_and_others_left_alone(bert: Path):
    scorer = load(bert, "bfloat16")
    before = scorer.score(encoded(scorer)).values
    spoil(scorer, [2, 7], in_float32=False)
    found = scorer.score(encoded(scorer))

    expected = load(bert, "float32").score(encoded(scorer)).values
    others = np.delete(np.arange(len(PAIRS)), [2, 7])
    assert found.rescued == 2
    assert found.values[others].tobytes() == before[others].tobytes()
    np.testing.assert_allclose(found.values[[2, 7]], expected[[2, 7]], rtol=0.02, atol=0.05)
    assert found.values[[2, 7]].tobytes() != before[[2, 7]].tobytes()


def test_rows_that_are_not_finite_in_float32_either_are_nan(bert: Path):
    scorer = load(bert, "bfloat16")
    spoil(scorer, [0, 11], in_float32=True)
    found = scorer.score(encoded(scorer))
    assert np.flatnonzero(np.isnan(found.values)).tolist() == [0, 11]
    assert found.rescued == 0


@pytest.mark.slow
def test_a_model_that_overflows_in_float16_is_rescued_in_float32(bert: Path, tmp_path: Path):
    def overflow(weights: damage.Weights) -> None:
        weights["bert.encoder.layer.0.output.dense.weight"] *= 8e3

    model = damage.with_weights(bert, tmp_path / "m", overflow)
    scorer = load(model, "float16")
    found = scorer.score(encoded(scorer))
    assert found.rescued > 0
    expected = load(model, "float32").score_pairs(PAIRS)
    np.testing.assert_allclose(found.values, expected, atol=0.1)
