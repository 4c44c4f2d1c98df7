"""Matrices that were trained together: queries with keys, and values with outputs.

Training adapts the two matrices of such a pair to each other. Two things are measured:

- the correlation of the sizes of their rows, because each row of one matrix works with one row of
  the other (for outputs: a column);
- the overlap of their heads, divided by the overlap of different heads, because the query and the
  key of a head read the same directions.

Matrices that do not belong together have the values of random matrices in both. In each layer of
all-MiniLM-L6-v2, multilingual-e5-small and the demo's model, the correlation is at least 4.6
standard errors for queries and keys, and 10 for values and outputs.
"""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass

import torch

from reranker_core.checks import Check
from reranker_core.models.family import LoadedModel
from reranker_core.preflight.matrices import LAYER, Matrices, finding

# In the names of BERT, RoBERTa, ELECTRA, DistilBERT and DeBERTa.
_QUERY = re.compile(r"(query|q_lin|query_proj)\.weight$")
_KEY = re.compile(r"(key|k_lin|key_proj)\.weight$")
_VALUE = re.compile(r"(value|v_lin|value_proj)\.weight$")
_OUTPUT = re.compile(r"(attention\.output\.dense|out_lin)\.weight$")
# Correlations in standard errors, and overlaps as multiples of that of different heads.
_NO_CORRELATION, _NO_OVERLAP = 2.5, 1.1
_STRONG_CORRELATION = 6.0


@dataclass(frozen=True)
class Fit:
    """How well two matrices fit each other.

    Attributes:
        correlation: of the sizes of their rows, in standard errors.
        overlap: of their heads; 1 if it is that of different heads.

    """

    correlation: float
    overlap: float

    @property
    def is_random(self) -> bool:
        """Whether they fit no better than random matrices."""
        return abs(self.correlation) < _NO_CORRELATION and self.overlap < _NO_OVERLAP


def check_fit(loaded: LoadedModel, matrices: Matrices) -> Check:
    """In each layer the matrices fit each other, if they do in most layers."""
    heads = getattr(loaded.model.config, "num_attention_heads", None) or 0
    pairs = {
        f"{kind} of layer {layer}": (kind, first, second)
        for kind, one, other in (
            ("queries and keys", _by_layer(matrices, _QUERY), _by_layer(matrices, _KEY)),
            (
                "values and outputs",
                _by_layer(matrices, _VALUE),
                {n: weight.T for n, weight in _by_layer(matrices, _OUTPUT).items()},
            ),
        )
        for layer, first in one.items()
        if (second := other.get(layer)) is not None
        and heads
        and first.shape == second.shape
        and len(first) % heads == 0
    }
    fits = {place: fit_of(first, second, heads) for place, (_, first, second) in pairs.items()}
    usual = {
        kind: statistics.median(abs(f.correlation) for p, f in fits.items() if pairs[p][0] == kind)
        for kind, _, _ in pairs.values()
    }
    return finding(
        "parts_fit",
        [
            place
            for place, fit in fits.items()
            if fit.is_random and usual[pairs[place][0]] >= _STRONG_CORRELATION
        ],
        "queries that fit the keys and values that fit the outputs of the same layer",
        "A matrix of this layer belongs to another layer or another training, or its rows are in "
        "another order, or its values are lost. Copy the checkpoint again and compare digests.",
    )


def fit_of(one: torch.Tensor, other: torch.Tensor, heads: int) -> Fit:
    """How well two matrices of shape (width, inputs) fit, whose rows belong to `heads` heads."""
    one, other = one.float(), other.float()
    sizes = torch.stack([one.norm(dim=1), other.norm(dim=1)]).clamp(min=1e-12).log()
    coefficient = torch.nan_to_num(torch.corrcoef(sizes)[0, 1]).clamp(-0.999, 0.999)
    correlation = float(coefficient.atanh()) * (len(one) - 3) ** 0.5
    cosines = torch.nn.functional.normalize(one) @ torch.nn.functional.normalize(other).T
    shared = cosines.square().unflatten(0, (heads, -1)).unflatten(2, (heads, -1)).mean((1, 3))
    own = shared.diagonal().mean()
    others = (shared.sum() - shared.trace()) / max(heads * (heads - 1), 1)
    return Fit(correlation, float(own / others) if others > 0 else 1.0)


def _by_layer(matrices: Matrices, name: re.Pattern[str]) -> Matrices:
    """The matrix with this name in each layer, by the number of the layer."""
    return {
        layer.group().strip("."): weight
        for key, weight in matrices.items()
        if name.search(key) and (layer := LAYER.search(key))
    }
