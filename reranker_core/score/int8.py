"""Linear layers in int8 on a CPU, for `model.dtype=int8`: packed weights, and activations that are
quantised as they come.

Each row of activations (a token) has a scale of its own, so that what a batch holds beside a pair
does not change its score. All that is not a large linear layer in a stack stays float32.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from reranker_core.device import torch_threads
from reranker_core.errors import ConfigError, brief
from reranker_core.score.products import best_times, large_layers

log = logging.getLogger(__name__)

_LEVELS, _MOST = 255, 127  # of an activation; of a weight, in both directions
_TINY = 1e-30


class Int8Linear(torch.nn.Module):
    """A linear layer with int8 weights, each output with its scale, packed for oneDNN.

    Attributes:
        weight: the packed weights; only oneDNN's operators can use them.

    """

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scales = weight.abs().amax(1).clamp_(min=_TINY) / _MOST
        rounded = (weight / scales[:, None]).round_().to(torch.int8)
        bias = torch.zeros_like(scales) if layer.bias is None else layer.bias.detach().float()
        # For activations that are all 1.
        sums = rounded.sum(1, dtype=torch.int32) * scales
        self.weight: torch.Tensor
        self.scales: torch.Tensor
        self.zeros: torch.Tensor
        self.sums: torch.Tensor
        self.bias: torch.Tensor
        packed = torch.ops.onednn.qlinear_prepack(rounded, None)
        zeros = torch.zeros(len(scales), dtype=torch.int32)
        names = {"weight": packed, "scales": scales, "zeros": zeros, "sums": sums, "bias": bias}
        for name, tensor in names.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shape (…, in features) to (…, out features). A row with NaN or infinity gives no finite
        output.
        """
        rows = inputs.flatten(0, -2).contiguous()  # `_levels` keeps the order in memory
        low = rows.amin(1, keepdim=True)
        step = (rows.amax(1, keepdim=True) - low).div_(_LEVELS).clamp_(min=_TINY)
        found = torch.ops.onednn.qlinear_pointwise(
            *(_levels(rows, low, step), 1.0, 0, self.weight, self.scales, self.zeros, None),
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        # A row is low + step * levels.
        lowest = torch.addcmul(self.bias, low, self.sums)
        return lowest.addcmul_(found, step).unflatten(0, inputs.shape[:-1])


def _levels(rows: torch.Tensor, low: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Rows as whole numbers from 0 to 255, uint8."""
    scaled = torch.sub(rows, low).mul_(step.reciprocal())
    # Converting float32 to uint8 takes five times as long.
    quantised = torch.quantize_per_tensor(scaled, 1.0, 0, torch.quint8)
    same = torch.empty(0, dtype=torch.uint8)
    return same.set_(quantised.untyped_storage(), 0, rows.shape, (rows.shape[1], 1))


class Int8Layers:
    """The int8 layers of a model. The float32 ones are kept until scores of the input have been
    compared.

    Attributes:
        outcome: how many there are and how fast, in words.

    """

    def __init__(self, model: torch.nn.Module, tokens: int, threads: int) -> None:
        """Replace the large linear layers in the stacks of a float32 model on a CPU.

        Args:
            model: a loaded model.
            tokens: number of tokens of a batch.
            threads: number of threads that compute a batch.

        Raises:
            ConfigError: the model has no such layers, or torch has no int8 products here.

        """
        layers = list(large_layers(model))
        if not layers:
            raise ConfigError(
                "model.dtype=int8: this model has no large linear layers in stacks of layers. "
                "Set model.dtype=auto"
            )
        with torch.no_grad(), torch_threads(threads), warnings.catch_warnings():
            # torch says once that its quantised types will be replaced.
            warnings.simplefilter("ignore")
            try:
                ratio = _time([layer for *_, layer in layers], tokens)
            except (RuntimeError, AttributeError) as error:
                raise ConfigError(
                    f"model.dtype=int8: torch {torch.__version__} has no int8 products on this CPU "
                    f"({brief(error)}). Set model.dtype=auto"
                ) from error
            self._places = [
                (parent, name, layer, Int8Linear(layer)) for parent, name, layer in layers
            ]
        for parent, name, _, quantised in self._places:
            setattr(parent, name, quantised)
        self.outcome = (
            f"int8 used in {len(layers)} layers: their products need {ratio:.2f} of the time of "
            "the fastest other number format"
        )
        if ratio >= 1:
            log.warning(
                "model.dtype=int8 is not the fastest for this model on this CPU (%s). Set "
                "model.dtype=auto",
                self.outcome,
            )

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Within the `with` block, the model has its float32 layers."""
        for parent, name, plain, _ in self._places:
            setattr(parent, name, plain)
        try:
            yield
        finally:
            for parent, name, _, quantised in self._places:
                setattr(parent, name, quantised)


def _time(layers: list[torch.nn.Linear], tokens: int) -> float:
    """Of the time that the product of the largest layer needs in float32 or bfloat16."""
    layer = max(layers, key=lambda each: each.weight.numel())
    half = copy.deepcopy(layer).bfloat16()
    kinds = [(Int8Linear(layer), torch.float32), (layer, torch.float32), (half, torch.bfloat16)]
    quantised, *others = best_times(kinds, layer.in_features, tokens)
    return quantised / min(others)
