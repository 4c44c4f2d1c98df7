"""A GPU scores as the CPU does; half precision is close to float32, and never NaN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reranker_core.score.prefixes import shared_prefixes
from reranker_core.score.scorer import Scorer
from tests import damage
from tests.cuda.families import CASES, PAIRS, SHARED
from tests.parity.common import deviation, load

Scorers = Callable[..., Scorer]

# Relative to a score, or to the scores' spread. The same products are summed in another order.
SAME = 1e-4
# Half precision, as a share of the scores' span: the largest difference, and the mean of all.
CLOSE = {"bfloat16": (0.08, 0.025), "float16": (0.01, 0.003)}
DECODERS = ["gemma", "gemma_untied", "llama", "qwen3", "qwen2", "wide_llama"]


def apart(scores: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The largest and the mean difference, as shares of the span, of the worst layer."""
    differences = np.abs(scores - expected) / np.ptp(expected, axis=0)
    return float(differences.max()), float(differences.mean(axis=0).max())


@pytest.mark.parametrize("name", CASES)
def test_float32_scores_are_those_of_the_cpu(name: str, scorer_of: Scorers):
    found = scorer_of(name).score_pairs(PAIRS)
    expected = scorer_of(name, device="cpu").score_pairs(PAIRS)
    assert np.isfinite(expected).all()
    assert deviation(found, expected) <= SAME


@pytest.mark.parametrize(
    "name", ["bert", "xlm_roberta", "electra", *DECODERS, "qwen3_classifier", "wide_bert"]
)
def test_half_precision_needs_no_padding(name: str, scorer_of: Scorers):
    assert scorer_of(name, "model.dtype=bfloat16")._engine.shapes.packed
    assert not scorer_of(name)._engine.shapes.packed  # there is no such kernel in float32


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("name", CASES)
def test_half_precision_is_close_to_float32(name: str, dtype: str, scorer_of: Scorers):
    half = scorer_of(name, f"model.dtype={dtype}")
    scores = half.score(half.encode(PAIRS))
    expected = scorer_of(name).score_pairs(PAIRS)
    assert np.isfinite(scores.values).all()
    largest, mean = apart(scores.values, expected)
    told = f"{largest:.4f} at most, {mean:.4f} on average, {scores.rescued} rescued"
    assert largest <= CLOSE[dtype][0], told
    assert mean <= CLOSE[dtype][1], told
    assert not np.array_equal(scores.values, expected), "it was computed in float32"


@pytest.mark.parametrize("name", CASES)
def test_the_float32_reference_of_a_half_model_is_that_of_the_cpu(name: str, scorer_of: Scorers):
    """What preflight and the rescue of scores use; afterwards the model is as it was."""
    pairs, settings = PAIRS[:60:6], "model.dtype=bfloat16"
    scorer = scorer_of(name, settings)
    before = scorer.alone(pairs)
    found = scorer.reference(pairs)
    expected = scorer_of(name, settings, device="cpu").reference(pairs)
    assert deviation(found, expected) <= SAME
    np.testing.assert_array_equal(scorer.alone(pairs), before)


@pytest.mark.parametrize("name", DECODERS)
def test_shared_prefixes_change_no_score(name: str, scorer_of: Scorers):
    scorer = scorer_of(name)
    assert scorer._engine._read is not None
    assert shared_prefixes(scorer.encode(SHARED)) is not None
    found = scorer.score_pairs(SHARED)
    assert scorer._engine._read is not None, "the prefixes could not be read"
    expected = scorer_of(name, "score.share_prefixes=false").score_pairs(SHARED)
    assert deviation(found, expected) <= SAME


@pytest.mark.parametrize("name", CASES)
def test_small_batches_give_the_same_scores(name: str, scorer_of: Scorers):
    pairs = PAIRS[::3]
    expected = scorer_of(name).score_pairs(pairs)
    found = scorer_of(name, "score.max_batch_tokens=300").score_pairs(pairs)
    assert deviation(found, expected) <= SAME


def test_what_overflows_in_float16_is_computed_in_float32(
    gpu: str, folder_of: Callable[[str], Path], tmp_path: Path
):
    """As Gemma does, whose states grow beyond float16."""

    def grow(weights: damage.Weights) -> None:
        weights["model.layers.1.mlp.down_proj.weight"] *= 5e3

    folder = damage.with_weights(folder_of("gemma"), tmp_path / "m", grow)
    case = CASES["gemma"]
    settings = (case.most, case.query_most, *case.settings, "model.dtype=float16")
    scorer = load(folder, *settings, f"model.device={gpu}")
    sequences = scorer.encode(PAIRS)
    bad = ~np.isfinite(scorer._engine.compute(sequences).values)
    assert 0 < bad.sum() <= 100, f"{bad.sum()} of {len(bad)} scores overflow"
    scores = scorer.score(sequences)
    assert scores.rescued == bad.sum()
    assert np.isfinite(scores.values).all()
    on_cpu = load(folder, *settings, "model.device=cpu")
    expected = on_cpu.reference([PAIRS[i] for i in np.flatnonzero(bad)])
    assert deviation(scores.values[bad], expected) <= SAME


@pytest.mark.parametrize("name", ["bert", "gemma"])
def test_a_part_that_has_ended_a_process_gets_the_same_scores(name: str, scorer_of: Scorers):
    scorer = scorer_of(name)
    sequences = scorer.encode(PAIRS)
    asked: list[int] = []
    found = scorer.score_warily(
        sequences, np.array([5]), np.array([1, 2, 20]), lambda rows: asked.extend(rows.tolist())
    ).values
    kept = np.delete(np.arange(len(PAIRS)), 5)
    assert sorted(asked) == kept.tolist()
    assert np.isnan(found[5])
    assert deviation(found[kept], scorer.score_pairs(PAIRS)[kept]) <= SAME
