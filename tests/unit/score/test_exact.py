"""A model in half precision computes in float32 for a time, as a float32 copy of it does."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from reranker_core.score.exact import in_float32
from reranker_core.score.loading import load_scorer
from tests.marks import more
from tests.tables import config
from tests.texts import WORDS

ENCODERS = ["bert", "modernbert"]
DECODERS = ["gemma", "monot5", more("minicpm_layerwise"), more("gemma2_lightweight")]
PAIRS = [("how to cache", " ".join(WORDS[:number])) for number in (1, 20, 60)]


@pytest.mark.slow
@pytest.mark.parametrize("family", [*ENCODERS, *DECODERS])
def test_scores_are_those_of_a_float32_copy(family: str, request: pytest.FixtureRequest):
    template = ["model.template=qwen3-reranker"] if family == "qwen3" else []
    settings = ("model.device=cpu", "model.dtype=bfloat16", "model.trust_remote_code=true")
    off = ("preflight.checks.meaning=off", "preflight.checks.numerics=off")
    model = request.getfixturevalue(family)
    scorer = load_scorer(config("in", "out", *settings, *off, *template, model=model))
    engine, sequences = scorer._engine, scorer.encode(PAIRS)
    rounded = [engine.alone(sequences, row) for row in range(len(sequences))]
    weights = {name: tensor.clone() for name, tensor in engine.model.state_dict().items()}
    with in_float32(engine.model):
        found = [engine.alone(sequences, row) for row in range(len(sequences))]
    assert all(
        tensor.dtype == weights[name].dtype and torch.equal(tensor, weights[name])
        for name, tensor in engine.model.state_dict().items()
    )
    again = [engine.alone(sequences, row) for row in range(len(sequences))]
    assert np.array_equal(rounded, again)
    engine.model = copy.deepcopy(engine.model).float()
    expected = [engine.alone(sequences, row) for row in range(len(sequences))]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.ptp(expected))
    assert not np.array_equal(found, rounded)
