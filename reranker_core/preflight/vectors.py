"""Gains and biases: vectors of one value, beside those of other layers that were trained."""

from __future__ import annotations

from collections import defaultdict

import torch

from reranker_core.checks import Check
from reranker_core.models.family import LoadedModel
from reranker_core.preflight.matrices import LAYER, finding

_LEAST_VALUES = 16


def check_vectors(loaded: LoadedModel) -> Check:
    """No gain or bias of a layer is constant if those of other layers were trained."""
    vectors = {
        name: weight.detach()
        for name, weight in loaded.model.named_parameters()
        if weight.dim() == 1 and len(weight) >= _LEAST_VALUES and LAYER.search(name)
    }
    roles: dict[str, list[str]] = defaultdict(list)
    for name in vectors:
        roles[LAYER.sub(".*.", name)].append(name)
    constant = {name for name, weight in vectors.items() if _is_constant(weight)}
    return finding(
        "layers_alike",
        [
            name
            for names in roles.values()
            for name in names
            if name in constant and not constant.issuperset(names)
        ],
        "no gains and biases of a single value where those of another layer differ",
        "The values of this layer were not saved, or were initialised again. Copy the checkpoint "
        "again and compare digests.",
    )


def _is_constant(weight: torch.Tensor) -> bool:
    return bool((weight == weight[0]).all())
