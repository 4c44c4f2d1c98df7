"""A transformer, and the modules of sentence-transformers after it.

Formulas as in sentence_transformers 6.2 (`Pooling`, `Dense`, `LayerNorm`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from reranker_core.errors import ConfigError
from reranker_core.models.modules import Module

_POOLED = ("cls", "mean", "max", "lasttoken", "mean_sqrt_len_tokens", "weightedmean")
# How older files write it.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


class ModuleChain(torch.nn.Module):
    """A transformer in the number format of the run. The modules after it compute in float32, so
    that no digits of scores are lost.
    """

    def __init__(self, body: Any, modules: Sequence[Module]) -> None:
        super().__init__()
        self.body = body
        self.config = body.config
        self.pooling = pooling_modes(modules[0])
        self.head = torch.nn.ModuleDict({module.name: _built(module) for module in modules[1:]})

    def get_input_embeddings(self) -> torch.nn.Module:
        """The embedding table, for preflight."""
        table: torch.nn.Module = self.body.get_input_embeddings()
        return table

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Output of the last Dense, shape (R, labels), of sequences padded on the right, shape (R,
        W).
        """
        states = self.body(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"]
        found = torch.cat([pool(states, mask, mode) for mode in self.pooling], dim=-1)
        for module in self.head.values():
            found = module(found)
        return found


class Dense(torch.nn.Module):
    """A linear layer and an activation; with `use_residual` the input is added."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        inputs, outputs = settings["in_features"], settings["out_features"]
        self.linear = torch.nn.Linear(inputs, outputs, bias=settings.get("bias", True))
        self.activation = activation(settings.get("activation_function", "torch.nn.Tanh"))
        self.adds = bool(settings.get("use_residual"))
        if self.adds and inputs != outputs:
            self.residual = torch.nn.Linear(inputs, outputs, bias=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Shape (R, in) → (R, out)."""
        found: torch.Tensor = self.activation(self.linear(states))
        if not self.adds:
            return found
        return found + (self.residual(states) if hasattr(self, "residual") else states)


class Norm(torch.nn.Module):
    """A LayerNorm with the parameter names of sentence-transformers."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(settings["dimension"])

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Shape (R, width) → (R, width)."""
        found: torch.Tensor = self.norm(states)
        return found


def pooling_modes(module: Module) -> list[str]:
    """The pooling modes of a module. The results of several modes are concatenated.

    Raises:
        ConfigError: a mode is not supported.

    """
    settings = module.settings
    flags = [mode for flag, mode in _FLAGS.items() if settings.get(flag)]
    named = settings.get("pooling_mode") or flags or "mean"
    modes = [named] if isinstance(named, str) else list(named)
    if not set(modes).issubset(_POOLED) or not settings.get("include_prompt", True):
        what = "without the prompt" if set(modes).issubset(_POOLED) else ", ".join(map(str, modes))
        raise ConfigError(
            f"{module.path}/config.json: the pooling {what} is not supported; expected "
            f"{', '.join(_POOLED)}, with the prompt. Use another checkpoint"
        )
    return modes


def pool(states: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """States, shape (R, W, H), and mask, shape (R, W), 0 for padding → one state, shape (R, H)."""
    inside, lengths = mask[..., None].to(states.dtype), mask.sum(1)
    if mode == "cls":
        return states[:, 0]
    if mode == "lasttoken":
        return states[torch.arange(len(states), device=states.device), lengths - 1]
    if mode == "max":
        return states.masked_fill(inside == 0, float("-inf")).max(1).values
    if mode == "weightedmean":
        places = torch.arange(1, states.shape[1] + 1, device=states.device, dtype=states.dtype)
        inside = inside * places[:, None]
        return (states * inside).sum(1) / inside.sum(1)
    count = lengths[:, None].to(states.dtype)
    return (states * inside).sum(1) / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)


def activation(path: str) -> torch.nn.Module:
    """A module for the path of a class, such as torch.nn.modules.activation.GELU.

    Raises:
        ConfigError: the path is not that of a class of torch.nn.

    """
    name = path.rpartition(".")[2]
    found = getattr(torch.nn, name, None)
    if path.startswith("torch.nn.") and isinstance(found, type):
        return found()
    raise ConfigError(
        f"activation_function={path}: expected a class of torch.nn. Copy config.json of this "
        "module again"
    )


def _built(module: Module) -> torch.nn.Module:
    if module.kind == "Dropout":
        return torch.nn.Identity()
    return {"Dense": Dense, "LayerNorm": Norm}[module.kind](module.settings)
