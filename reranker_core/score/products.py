"""Matrix products by the fastest kernel that a CPU has for a model's layers, found by measuring.

For a linear layer torch calls MKL in float32, and oneDNN in bfloat16. oneDNN can also keep the
weights packed as its products need them. Which is faster depends on the CPU (docs/performance.md).
"""

from __future__ import annotations

import itertools
import logging
import time
import weakref
from collections.abc import Callable, Iterator

import torch

from reranker_core.device import torch_threads

log = logging.getLogger(__name__)

_ROUNDS = 9
_SMALLEST = 128 * 128  # weights; the time of smaller layers is not in their products
_SECONDS = 1.0  # of measuring a kind of layer
# Of the time. Where the kernels are nearly as fast, the choice would differ from run to run, and
# the last bits of scores with it.
_WORTH = 0.95


# torch.compile takes no packed tensors. So compiled code names the weights by a number, which is a
# tensor: then all layers of a model share their code.
_NUMBERED = "batch_reranker::numbered_linear"
_numbers = itertools.count()
_weights: dict[int, torch.Tensor] = {}

torch.library.define(
    _NUMBERED, "(Tensor inputs, Tensor number, Tensor? bias, int features) -> Tensor"
)


@torch.library.impl(_NUMBERED, "CPU")
def _numbered_linear(
    inputs: torch.Tensor, number: torch.Tensor, bias: torch.Tensor | None, features: int
) -> torch.Tensor:
    return _linear(inputs, _weights[int(number)], bias)


@torch.library.register_fake(_NUMBERED)
def _(inputs: torch.Tensor, number: object, bias: object, features: int) -> torch.Tensor:
    return inputs.new_empty(*inputs.shape[:-1], features)


def _linear(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return found


class PackedLinear(torch.nn.Module):
    """A linear layer with weights as oneDNN packs them, or plain ones while it computes in another
    number format.

    Attributes:
        weight: the weights; packed ones can be used by oneDNN's operators only.
        bias: as in the plain layer.

    """

    def __init__(self, layer: torch.nn.Linear, tokens: int) -> None:
        super().__init__()
        self.bias = layer.bias
        self.weight: torch.Tensor
        packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), tokens)
        self.register_buffer("weight", packed, persistent=False)
        self.out_features = layer.out_features
        number = next(_numbers)
        self.number: torch.Tensor
        self.register_buffer("number", torch.tensor(number), persistent=False)
        _weights[number] = packed
        weakref.finalize(self, _weights.pop, number)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shape (…, in features) to (…, out features)."""
        if torch.compiler.is_compiling():
            compiled: torch.Tensor = torch.ops.batch_reranker.numbered_linear(
                inputs, self.number, self.bias, self.out_features
            )
            return compiled
        if not self.weight.is_mkldnn:
            return torch.nn.functional.linear(inputs, self.weight, self.bias)
        return _linear(inputs, self.weight, self.bias)


def pack_where_faster(model: torch.nn.Module, tokens: int, threads: int) -> str:
    """Replace the linear layers of a model on a CPU by packed ones, if these are clearly faster.

    Only large layers in its stacks of layers are replaced. Each kind (size, number format) of them
    is measured once. Dense weights are dropped as they are packed, so that memory does not double.

    Args:
        model: a loaded model.
        tokens: number of tokens of a batch.
        threads: number of threads that compute a batch.

    Returns:
        The outcome in words.

    """
    kinds: dict[tuple[int, int, torch.dtype], list[tuple[torch.nn.Module, str]]] = {}
    for parent, name, layer in _layers(model):
        kind = (layer.in_features, layer.out_features, layer.weight.dtype)
        kinds.setdefault(kind, []).append((parent, name))
    if not kinds or not torch.backends.mkldnn.is_available():
        return ""
    with torch.no_grad(), torch_threads(threads):
        try:
            times = [_times(getattr(*places[0]), tokens) for places in kinds.values()]
        except RuntimeError as error:  # packing needs instructions that this CPU lacks
            log.debug("packed weights are not supported: %s", error)
            return ""
        counts = [len(places) for places in kinds.values()]
        plain = sum(count * time for count, (time, _) in zip(counts, times, strict=True))
        packed = sum(count * time for count, (_, time) in zip(counts, times, strict=True))
        ratio = packed / plain
        if ratio > _WORTH:
            return (
                f"packed weights not used: matrix products would need {ratio:.2f} of the time of "
                "plain weights"
            )
        for parent, name in (place for places in kinds.values() for place in places):
            setattr(parent, name, PackedLinear(getattr(parent, name), tokens))
    return (
        f"packed weights used in {sum(counts)} layers: their matrix products need {ratio:.2f} of "
        "the time of plain weights"
    )


def _layers(model: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, str, torch.nn.Linear]]:
    """Large linear layers in stacks of layers, each with its parent and its name there."""
    stacks = [part for part in model.modules() if isinstance(part, torch.nn.ModuleList)]
    seen: set[int] = set()
    for parent in (part for stack in stacks for part in stack.modules()):
        for name, layer in parent.named_children():
            if type(layer) is not torch.nn.Linear or id(layer) in seen:
                continue
            seen.add(id(layer))
            if layer.weight.numel() >= _SMALLEST:
                yield parent, name, layer


def _times(layer: torch.nn.Linear, tokens: int) -> tuple[float, float]:
    """Seconds of a product of the plain layer and of the packed one: in turn, the best of each."""
    packed = PackedLinear(layer, tokens)
    generator = torch.Generator().manual_seed(0)  # that of the process stays as it is
    inputs = torch.randn(tokens, layer.in_features, generator=generator).to(layer.weight.dtype)
    best = [float("inf")] * 2
    calls: list[Callable[[torch.Tensor], torch.Tensor]] = [layer, packed]
    for call in calls:
        call(inputs)  # the first call prepares the kernel
    end = time.perf_counter() + _SECONDS
    for _ in range(_ROUNDS):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call(inputs)
            best[index] = min(best[index], time.perf_counter() - start)
        if time.perf_counter() > end:
            break
    return best[0], best[1]
