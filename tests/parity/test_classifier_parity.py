"""Decoders with a classification head score as their own classes do in float64, pair by pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity import oracles
from tests.parity.common import assert_same, encode, load, sample_pairs

CODE = "model.trust_remote_code=true"
FOLDERS = {
    "qwen3_classifier": ("qwen3-reranker", oracles.qwen3_card, ()),
    "nemotron": ("nemotron", oracles.nemotron, (CODE,)),
}


@pytest.fixture
def folder(name: str, request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("max_batch_tokens", [400, 16_384])
def test_scores_and_ids_are_those_of_the_authors_class(
    name: str, folder: Path, max_batch_tokens: int
):
    template, join, settings = FOLDERS[name]
    budget = f"score.max_batch_tokens={max_batch_tokens}"
    scorer = load(folder, 512, 300, f"model.template={template}", budget, *settings)
    pairs = [pair for pair in sample_pairs(128, 90) if max(map(len, pair)) < 500]
    oracle = oracles.classifier64(folder)
    ids = [join(oracle.tokenizer, *pair, 512, 300) for pair in pairs]
    assert encode(scorer, pairs) == ids
    assert_same(scorer.score_pairs(pairs), oracle.scores(ids))


def test_a_text_that_ends_with_the_padding_token_is_scored_behind_its_own_last_token(
    qwen3_classifier: Path,
):
    """Where transformers' class, which looks for what is no padding, would look elsewhere."""
    template = "model.template={segments: ['{query} ', '{passage}']}"
    scorer = load(qwen3_classifier, 512, 300, template)
    pairs = [("read a file", "text<|endoftext|>"), ("read a file", "text")]
    with_it, without = scorer.score_pairs(pairs)
    assert abs(with_it - without) > 1e-3
