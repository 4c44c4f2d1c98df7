"""Matrices that were trained together, and those that were not."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reranker_core.preflight.fit import check_fit
from reranker_core.preflight.matrices import Matrices

HEADS, WIDTH, LAYERS = 4, 64, 3


def name(layer: int, part: str) -> str:
    return f"encoder.layer.{layer}.attention.{part}.weight"


def trained(common: float = 1.0) -> Matrices:
    """Layers whose queries and keys, values and outputs share directions and sizes of rows."""
    draw = torch.Generator().manual_seed(0)
    found: Matrices = {}
    for layer in range(LAYERS):
        for one, other in (("self.query", "self.key"), ("self.value", "output.dense")):
            shared = torch.randn(WIDTH, WIDTH, generator=draw)
            size = torch.rand(WIDTH, 1, generator=draw) + 0.5
            parts = [
                (shared * common + torch.randn(WIDTH, WIDTH, generator=draw)) * size**common
                for _ in range(2)
            ]
            found[name(layer, one)] = parts[0]
            found[name(layer, other)] = parts[1].T if other == "output.dense" else parts[1]
    return found


def places(matrices: Matrices, **config: Any) -> str:
    settings = {"num_attention_heads": HEADS} | config
    loaded: Any = SimpleNamespace(model=SimpleNamespace(config=SimpleNamespace(**settings)))
    check = check_fit(loaded, matrices)
    return "" if check.passed else check.measured


def anew(weight: torch.Tensor) -> torch.Tensor:
    return torch.randn(weight.shape, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize(
    ("part", "edit"),
    [
        ("self.query", anew),
        ("self.key", lambda x: x.T),
        ("self.value", lambda x: x.flip(0)),
        ("output.dense", lambda x: x.flip(1)),
    ],
)
def test_a_matrix_that_does_not_fit_is_found(
    part: str, edit: Callable[[torch.Tensor], torch.Tensor]
):
    matrices = trained()
    matrices[name(1, part)] = edit(matrices[name(1, part)])
    kind = "queries and keys" if part in ("self.query", "self.key") else "values and outputs"
    assert places(matrices) == f"1 found: {kind} of layer 1"


def test_layers_of_a_trained_model_fit():
    assert not places(trained())


def test_random_models_have_nothing_that_fits():
    assert not places(trained(common=0.0))


def test_groups_of_queries_that_share_keys_are_not_looked_at():
    matrices = trained()
    matrices[name(1, "self.key")] = anew(matrices[name(1, "self.key")])[:16]
    assert not places(matrices)


@pytest.mark.parametrize("heads", [None, 5])
def test_an_unknown_number_of_heads_is_no_damage(heads: int | None):
    assert not places(trained(), num_attention_heads=heads)
