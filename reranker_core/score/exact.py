"""A model that computes in float32, whatever the number format of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from reranker_core.device import is_out_of_memory
from reranker_core.errors import Incomplete, brief

_HALF = (torch.bfloat16, torch.float16)


@contextmanager
def in_float32(model: torch.nn.Module) -> Iterator[None]:
    """Within the `with` block, the model computes in float32 with the same weights, on its device.

    Of its stacks of layers, only the layer that computes has float32 weights at that time. So this
    needs the memory of one layer and of what is outside the stacks, not of a second model.
    """
    layers = list(stacked_layers(model))
    inside = {id(part) for layer in layers for part in layer.modules()}
    with ExitStack() as undo:
        cast = _Cast([part for part in model.modules() if id(part) not in inside])
        undo.callback(cast.end)
        cast.begin()
        for layer in layers:
            cast = _Cast(list(layer.modules()))
            undo.callback(layer.register_forward_pre_hook(cast.begin).remove)
            undo.callback(layer.register_forward_hook(cast.end, always_call=True).remove)
        yield


class _Cast:
    """Modules that get their half-precision weights and buffers in float32 for a time."""

    def __init__(self, modules: list[torch.nn.Module]) -> None:
        self._modules = modules
        self._before: list[tuple[dict[str, torch.Tensor | None], str, torch.Tensor]] = []

    def begin(self, *_: object) -> None:
        """Replace them; also a hook before a layer's forward.

        Raises:
            Incomplete: there is too little memory for them.

        """
        try:
            self._replace()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise Incomplete(
                "there is too little memory to compute scores in float32, as preflight and scores "
                f"that are not finite need ({brief(error)}). Lower score.max_batch_tokens, end "
                "other processes on this device, or use one with more memory"
            ) from error

    def _replace(self) -> None:
        cast: dict[int, torch.Tensor] = {}  # weights that modules share stay shared
        for module in self._modules:
            tensors: dict[str, torch.Tensor | None]
            for tensors in (module._parameters, module._buffers):  # type: ignore[assignment]
                for name, tensor in tensors.items():
                    if tensor is None or tensor.dtype not in _HALF:
                        continue
                    self._before.append((tensors, name, tensor))
                    tensors[name] = cast.setdefault(id(tensor), _float32(tensor))

    def end(self, *_: object) -> None:
        """Put the original ones back; also a hook behind a layer's forward."""
        for tensors, name, tensor in self._before:
            tensors[name] = tensor
        self._before.clear()


def _float32(tensor: torch.Tensor) -> torch.Tensor:
    found = tensor.detach()
    found = found.to_dense(torch.float32) if found.is_mkldnn else found.float()
    return torch.nn.Parameter(found, False) if isinstance(tensor, torch.nn.Parameter) else found


def stacked_layers(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The layers of the outermost stacks of a model, in order."""
    for child in module.children():
        if isinstance(module, torch.nn.ModuleList) and not isinstance(child, torch.nn.ModuleList):
            yield child
        else:
            yield from stacked_layers(child)
