"""A model in half precision computes in float32 for a time, as a float32 copy of it does."""

from __future__ import annotations

import copy
from unittest import mock

import numpy as np
import pytest
import torch

from reranker_core.errors import Incomplete
from reranker_core.score import exact
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


def test_too_little_memory_for_float32_is_told_with_a_remedy_and_the_model_stays_as_it_was():
    layers = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(2))
    model = torch.nn.Sequential(layers, torch.nn.Linear(4, 4)).to(torch.bfloat16)
    before = {name: id(weight) for name, weight in model.named_parameters()}

    real = exact._float32

    def compute() -> None:
        with in_float32(model):
            layers[0](torch.ones(1, 4))

    for too_large in (model[1].weight, layers[0].weight):

        def cast(weight: torch.Tensor, too_large: torch.Tensor = too_large) -> torch.Tensor:
            return torch.empty(10**15) if weight is too_large else real(weight)

        with (
            mock.patch.object(exact, "_float32", cast),
            pytest.raises(Incomplete, match=r"float32.*Lower score\.max_batch_tokens"),
        ):
            compute()
        assert {name: id(weight) for name, weight in model.named_parameters()} == before
    compute()
