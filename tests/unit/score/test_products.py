"""Packed matrix products: the same scores, used only where faster, and memory not doubled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reranker_core.score import products
from reranker_core.score.exact import in_float32
from reranker_core.score.loading import load_scorer
from reranker_core.score.products import PackedLinear, pack_where_faster
from reranker_core.score.scorer import Scorer
from tests.parity.common import sample_pairs
from tests.tables import config

DEMO = Path(__file__).parents[3] / "demo/model"
SETTINGS = ("model.dtype=float32", "model.device=cpu", "score.compile=false")


def load(*settings: str) -> Scorer:
    return load_scorer(config("in", "out", *SETTINGS, *settings, model=DEMO))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed products count as worth it, however slow they are here."""
    monkeypatch.setattr(products, "_WORTH", float("inf"))


@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_multiplies_as_the_plain_one_without_dense_weights(bias: bool):
    plain = torch.nn.Linear(192, 320, bias)
    inputs = torch.randn(3, 50, 192)
    with torch.no_grad():
        packed = PackedLinear(plain, 256)
        torch.testing.assert_close(packed(inputs), plain(inputs))
    assert not list(packed.parameters())[bias:]


def test_packed_bfloat16_weights_compute_in_float32_for_a_time():
    layer = torch.nn.Linear(192, 320).to(torch.bfloat16)
    inputs = torch.randn(50, 192)
    with torch.no_grad():
        try:
            packed = PackedLinear(layer, 256)
        except RuntimeError:
            pytest.skip("this CPU has no packed weights in bfloat16")
        rounded = packed(inputs.bfloat16())
        with in_float32(packed):
            assert torch.equal(packed(inputs), layer.float()(inputs))
        assert torch.equal(packed(inputs.bfloat16()), rounded)


@pytest.mark.slow
def test_scores_are_those_of_the_plain_model(monkeypatch: pytest.MonkeyPatch):
    pairs = sample_pairs(128, 96)
    monkeypatch.setattr(products, "_WORTH", 0.0)
    plain = load()
    assert plain.report.products.startswith("packed weights not used: ")
    expected = plain.score_pairs(pairs)
    monkeypatch.setattr(products, "_WORTH", float("inf"))
    packed = load()
    assert packed.report.products.startswith("packed weights used in 12 layers: ")
    assert sum(isinstance(part, PackedLinear) for part in packed._engine.model.modules()) == 12
    span = 1e-5 * np.ptp(expected)
    np.testing.assert_allclose(packed.score_pairs(pairs), expected, rtol=0, atol=span)
    # What is not finite is computed again from the same weights.
    np.testing.assert_allclose(packed.reference(pairs), plain.reference(pairs), rtol=0, atol=span)


@pytest.mark.usefixtures("always")
def test_scores_that_are_to_be_the_same_to_the_bit_come_from_plain_products():
    assert load("score.reproducible=true").report.products == ""


@pytest.mark.usefixtures("always")
def test_small_layers_and_layers_outside_of_stacks_stay_as_they_are():
    model = torch.nn.Module()
    model.head = torch.nn.Linear(256, 256)
    model.layers = torch.nn.ModuleList([torch.nn.Linear(16, 16)])
    assert pack_where_faster(model, 64, 1) == ""
    model.layers.append(torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.GELU()))
    assert "in 1 layers" in pack_where_faster(model, 64, 1)
    assert isinstance(model.layers[1][0], PackedLinear)
    assert type(model.head) is torch.nn.Linear


@pytest.mark.usefixtures("always")
def test_a_cpu_that_cannot_pack_keeps_the_model(monkeypatch: pytest.MonkeyPatch):
    def unsupported(*_: object) -> None:
        raise RuntimeError("needs the cpu support avx512bw")  # as torch says for bfloat16

    monkeypatch.setattr(PackedLinear, "__init__", unsupported)
    model = torch.nn.ModuleList([torch.nn.Linear(256, 256)])
    assert pack_where_faster(model, 64, 1) == ""
    assert type(model[0]) is torch.nn.Linear
