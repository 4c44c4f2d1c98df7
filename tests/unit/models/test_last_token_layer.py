"""The last feed-forward of a causal model runs for the last token, and the score stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from reranker_core.config import ModelConfig
from reranker_core.encode.formats.pair_format import Answer
from reranker_core.models import classifier, llm
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.networks.answer_model import AnswerModel
from reranker_core.models.networks.last_token_layer import LastTokenLayer

IDS = torch.randint(5, 90, (5, 12), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([12, 3, 7, 1, 12])
LAST = torch.arange(len(IDS)) * IDS.shape[1] + LENGTHS - 1
ANSWERS = (Answer("yes", (7,), 1.0), Answer("no", (8,), -1.0))


def stock(kind: str, **settings: Any) -> Any:
    config = AutoConfig.for_model(
        kind,
        vocab_size=100,
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=64,
        num_hidden_layers=2,
        initializer_range=0.3,
        pad_token_id=0,
        **settings,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@torch.inference_mode()
def expected(model: Any) -> torch.Tensor:
    logits = model(input_ids=IDS).logits[torch.arange(len(IDS)), LENGTHS - 1]
    return logits[:, 7] - logits[:, 8]


@pytest.mark.parametrize("kind", ["gemma", "llama", "mistral", "qwen2", "qwen3"])
def test_scores_stay_and_the_last_feed_forward_sees_one_token_a_row(kind: str):
    model = stock(kind)
    scores, names = expected(model), set(model.model.state_dict())
    assert scores.std() > 0.01
    scoring = AnswerModel(model, ANSWERS)
    assert set(scoring.body.state_dict()) == names
    seen: list[tuple[int, ...]] = []
    for layer in scoring.body.layers:
        layer.mlp.register_forward_hook(lambda *given: seen.append(tuple(given[1][0].shape)))
    with torch.inference_mode():
        torch.testing.assert_close(scoring(IDS, LAST), scores, rtol=1e-4, atol=1e-5)
    assert seen == [(5, 12, 32), (5, 1, 32)]


@pytest.mark.parametrize("kind", ["gemma2", "phi3"])  # other norms, scaled residuals
def test_other_models_stay_as_they_are(kind: str):
    model = stock(kind)
    scores = expected(model)
    scoring = AnswerModel(model, ANSWERS)
    with torch.inference_mode():
        torch.testing.assert_close(scoring(IDS, LAST), scores, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, LastTokenLayer) for module in scoring.modules())


def test_layers_of_ones_own_are_not_touched():
    model = stock("llama")
    layer = model.model.layers[-1]
    layer.__class__ = type("LlamaDecoderLayer", (type(layer),), {"__module__": "own"})
    assert AnswerModel(model, ANSWERS).body.layers[-1] is layer


def test_families_use_it(qwen3: Path, qwen3_classifier: Path):
    for family, folder in ((llm, qwen3), (classifier, qwen3_classifier)):
        model = ModelConfig(path=str(folder))
        loaded = family.load(open_checkpoint(model), model, torch.float32, "cpu")
        assert isinstance(loaded.model.body.layers[-1], LastTokenLayer)
