"""The last layer is computed for the token that the head reads, and the score stays what it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from reranker_core.config import ModelConfig
from reranker_core.models import encoder
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.loading import inputs_to_float32
from reranker_core.models.networks.first_token_layer import FirstTokenLayer, read_first_token_only

KINDS = ["bert", "roberta", "xlm-roberta", "camembert", "ernie", "electra"]
IDS = torch.randint(5, 90, (5, 12), generator=torch.Generator().manual_seed(0))
PADDED = (torch.arange(12) < torch.tensor([12, 3, 7, 1, 12])[:, None]).long()


def stock(kind: str, **settings: Any) -> Any:
    config = AutoConfig.for_model(
        kind,
        vocab_size=100,
        hidden_size=32,
        num_attention_heads=4,
        intermediate_size=64,
        num_hidden_layers=2,
        num_labels=1,
        initializer_range=0.3,
        **settings,
    )
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config).eval()


@torch.inference_mode()
def logits(model: Any, mask: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=IDS, attention_mask=mask).logits
    return found


@pytest.mark.parametrize("mask", [PADDED, torch.ones_like(PADDED)], ids=["padded", "whole"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_stay_and_the_last_layer_sees_one_token_a_row(kind: str, mask: torch.Tensor):
    model = stock(kind)
    expected = logits(model, mask)
    assert expected.std() > 0.01
    names = set(model.state_dict())
    read_first_token_only(model)
    assert set(model.state_dict()) == names
    seen: list[torch.Size] = []
    for layer in model.base_model.encoder.layer:
        layer.intermediate.register_forward_hook(lambda *given: seen.append(given[1][0].shape))
    torch.testing.assert_close(logits(model, mask), expected)
    assert [tuple(shape) for shape in seen] == [(5, 12, 32), (5, 1, 32)]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("bert", {"attn_implementation": "eager"}),  # its mask is another one
        ("bert", {"is_decoder": True}),
        ("xlm-roberta-xl", {}),  # its layers normalise before, not after
        ("distilbert", {"dim": 32, "n_heads": 4, "hidden_dim": 64, "n_layers": 2}),
    ],
)
def test_other_models_stay_as_they_are(kind: str, settings: dict[str, Any]):
    model = stock(kind, **settings)
    read_first_token_only(model)
    assert not any(isinstance(module, FirstTokenLayer) for module in model.modules())


def test_code_of_ones_own_is_not_touched():
    model = stock("bert")
    model.__class__ = type("BertForSequenceClassification", (type(model),), {"__module__": "own"})
    read_first_token_only(model)
    assert not any(isinstance(module, FirstTokenLayer) for module in model.modules())


def test_layers_that_a_later_transformers_computes_otherwise_stay(monkeypatch: pytest.MonkeyPatch):
    model = stock("bert")
    intermediate = type(model.base_model.encoder.layer[-1].intermediate)
    narrow = intermediate.forward
    # What only whole sequences get stands for a change that is not followed here.
    monkeypatch.setattr(
        intermediate,
        "forward",
        lambda self, states: narrow(self, states) * (2 if states.shape[1] > 1 else 1),
    )
    expected = logits(model, PADDED)
    read_first_token_only(model)
    assert torch.equal(logits(model, PADDED), expected)


@pytest.mark.parametrize("name", ["bert", "xlm_roberta", "electra"])
def test_the_family_uses_it(name: str, request: pytest.FixtureRequest):
    model = ModelConfig(path=str(request.getfixturevalue(name)))
    loaded = encoder.load(open_checkpoint(model), model, torch.float32, "cpu")
    assert isinstance(loaded.model.base_model.encoder.layer[-1], FirstTokenLayer)


@pytest.mark.parametrize(("dtype", "used"), [(torch.bfloat16, True), (torch.float32, False)])
@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])  # the head is the first of its modules
def test_rounding_in_half_precision_is_allowed_though_the_head_is_in_float32(
    kind: str, dtype: torch.dtype, used: bool, monkeypatch: pytest.MonkeyPatch
):
    model = stock(kind).to(dtype)
    model.classifier.float().register_forward_pre_hook(inputs_to_float32)
    forward = FirstTokenLayer.forward
    monkeypatch.setattr(
        FirstTokenLayer, "forward", lambda *given, **how: forward(*given, **how) * 1.01
    )
    assert read_first_token_only(model) is used
