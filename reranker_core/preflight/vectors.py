"""Gains and biases: vectors of one value, beside those of other layers that were trained."""

from __future__ import annotations

import re
from collections import defaultdict

import torch

from reranker_core.checks import Check
from reranker_core.models.family import LoadedModel
from reranker_core.preflight.matrices import LAYER, finding

_LEAST_VALUES = 16
# Smaller differences do not change scores, and half precision may lose them.
_LEAST_DIFFERENCE = 3e-3
# Changes nothing: it adds the same number to all scores of a query. In the names of BERT, RoBERTa,
# ELECTRA and DistilBERT, whose positions are not in the attention.
_NO_EFFECT = re.compile(r"(attention\.self\.key|k_lin)\.bias$")


def check_vectors(loaded: LoadedModel) -> Check:
    """No gain or bias of a layer is constant if those of other layers were trained."""
    vectors = {
        name: weight.detach()
        for name, weight in loaded.model.named_parameters()
        if weight.dim() == 1
        and len(weight) >= _LEAST_VALUES
        and LAYER.search(name)
        and not _NO_EFFECT.search(name)
        and not (loaded.head and name.startswith(loaded.head))
    }
    alike: dict[str, list[torch.Tensor]] = defaultdict(list)
    for name, weight in vectors.items():
        alike[_role(name)].append(weight)
    return finding(
        "layers_alike",
        [
            name
            for name, weight in vectors.items()
            if _is_constant(weight)
            and 2 * sum(map(_is_trained, alike[_role(name)])) >= len(alike[_role(name)])
        ],
        "no gains and biases of a single value where those of another layer differ",
        "The values of this layer were not saved, or were initialised again. Copy the checkpoint "
        "again and compare digests.",
    )


def _role(name: str) -> str:
    """The name without the number of the layer."""
    return LAYER.sub(".*.", name, count=1)


def _is_constant(weight: torch.Tensor) -> bool:
    return bool((weight == weight[0]).all())


def _is_trained(weight: torch.Tensor) -> bool:
    return float(weight.float().std()) >= _LEAST_DIFFERENCE
