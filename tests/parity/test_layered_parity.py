"""Rerankers with a head a layer, and encoder-decoders, score as float64 and FlagEmbedding say.

FlagEmbedding's classes need transformers 4.46; `tests.flag_models` adapts their modeling code,
which is run here in float64, without padding, on ids that are joined by hand.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.marks import more
from tests.parity import oracles
from tests.parity.common import assert_same, assert_same_by_layer, load, sample_pairs


@pytest.mark.parametrize(
    ("cutoffs", "most", "query_most"),
    [more([2], 128, 96), more([6], 128, 96), ([2, 3, 6], 128, 96), ([2, 3, 6], 16, 5)],
)
def test_layerwise_scores_equal_flag_embeddings_code(
    minicpm_layerwise: Path, cutoffs: list[int], most: int, query_most: int
):
    pairs = sample_pairs(most, query_most)
    scorer = load(minicpm_layerwise, most, query_most, f"model.cutoff_layer={cutoffs}")
    expected = oracles.layerwise_scores(minicpm_layerwise, pairs, most, query_most, cutoffs)
    assert_same_by_layer(scorer.score_pairs(pairs), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cutoffs", "layers", "ratio", "most", "query_most"),
    # 4 is a layer that is asked for and before which the passage shrinks.
    [
        more([6], [], 1, 128, 96),
        more([5], [2, 4], 2, 128, 96),
        more([6], [0, 1, 3], 4, 128, 96),
        ([3, 4, 6], [2, 4], 2, 128, 96),
        ([3, 4, 6], [2, 4], 2, 16, 5),
    ],
)
def test_lightweight_scores_equal_flag_embeddings_code(
    gemma2_lightweight: Path,
    cutoffs: list[int],
    layers: list[int],
    ratio: int,
    most: int,
    query_most: int,
):
    pairs = sample_pairs(most, query_most)
    settings = (
        f"model.cutoff_layer={cutoffs}",
        f"model.compress_layers={layers}",
        f"model.compress_ratio={ratio}",
    )
    scorer = load(gemma2_lightweight, most, query_most, *settings)
    expected = oracles.lightweight_scores(
        gemma2_lightweight, pairs, most, query_most, cutoffs, layers, ratio
    )
    assert_same_by_layer(scorer.score_pairs(pairs), expected)


@pytest.mark.parametrize("name", ["minicpm_layerwise", "gemma2_lightweight"])
def test_each_of_several_layers_scores_as_it_does_alone(name: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(name)
    pairs = sample_pairs(128, 96)[:30]
    own = ("model.lightweight_head=of_layer",) if name == "gemma2_lightweight" else ()
    several = load(folder, 128, 96, "model.cutoff_layer=[2, 5]", *own).score_pairs(pairs)
    for layer, scores in zip((2, 5), several.T, strict=True):
        alone = load(folder, 128, 96, f"model.cutoff_layer={layer}", *own).score_pairs(pairs)
        assert_same(scores, alone)


def test_the_lightweight_head_is_a_choice(gemma2_lightweight: Path):
    pairs = sample_pairs(128, 96)[:20]
    first = load(gemma2_lightweight, 128, 96, "model.cutoff_layer=4")
    own = load(
        gemma2_lightweight, 128, 96, "model.cutoff_layer=4", "model.lightweight_head=of_layer"
    )
    assert np.abs(first.score_pairs(pairs) - own.score_pairs(pairs)).max() > 0.01
    assert first.pair_format.record != own.pair_format.record
    # At the start layer they are one and the same.
    lowest = ["model.cutoff_layer=2", "model.lightweight_head=of_layer"]
    start = load(gemma2_lightweight, 128, 96, "model.cutoff_layer=2").score_pairs(pairs)
    assert_same(load(gemma2_lightweight, 128, 96, *lowest).score_pairs(pairs), start)


@pytest.mark.parametrize("name", ["monot5", "monot5_untied"])
def test_seq2seq_scores_equal_the_first_decoder_step_in_float64(
    name: str, request: pytest.FixtureRequest
):
    folder = request.getfixturevalue(name)
    pairs = [pair for pair in sample_pairs(128, 90) if max(map(len, pair)) < 500]
    expected = oracles.monot5_scores(folder, pairs)
    assert_same(load(folder, 512, 400).score_pairs(pairs), expected)


def test_ptt5_scores_equal_the_first_decoder_step_in_float64(monot5: Path):
    pairs = [pair for pair in sample_pairs(128, 90) if max(map(len, pair)) < 500]
    expected = oracles.monot5_scores(monot5, pairs, answers=oracles.PTT5_ANSWERS)
    scores = load(monot5, 512, 400, "model.template=ptt5-msmarco").score_pairs(pairs)
    assert_same(scores, expected)


@pytest.mark.parametrize("template", oracles.MT5_ANSWERS)
def test_mt5_scores_equal_the_first_decoder_step_in_float64(mt5: Path, template: str):
    pairs = [pair for pair in sample_pairs(128, 90) if max(map(len, pair)) < 500]
    expected = oracles.mt5_scores(mt5, pairs, template)
    scores = load(mt5, 512, 400, f"model.template={template}").score_pairs(pairs)
    assert_same(scores, expected)
    if template == "mt5-msmarco":  # the one that the checkpoint's name asks for
        assert_same(load(mt5, 512, 400).score_pairs(pairs), expected)


@pytest.mark.parametrize("name", ["minicpm_layerwise", "gemma2_lightweight", "monot5"])
@pytest.mark.parametrize("max_batch_tokens", [300, 16_384])
def test_a_pair_scores_the_same_wherever_it_stands(
    name: str, max_batch_tokens: int, request: pytest.FixtureRequest
):
    folder = request.getfixturevalue(name)
    pair, *others = sample_pairs(128, 90)[:30]
    compressed = ("model.compress_ratio=2", "model.compress_layers=[2]")
    settings = compressed if name == "gemma2_lightweight" else ()
    scorer = load(folder, 128, 90, f"score.max_batch_tokens={max_batch_tokens}", *settings)
    alone = load(folder, 128, 90, *settings).score_pairs([pair])
    first = scorer.score_pairs([pair, *others])
    last = scorer.score_pairs([*others, pair])
    assert_same([first[0], last[-1]], [alone[0], alone[0]], spread=first.std())
