"""What the families with one head per layer have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError
from reranker_core.models.checkpoint import Checkpoint


def cutoffs_of(config: dict[str, Any], model: ModelConfig, first: int, step: int = 1) -> list[int]:
    """The cutoff layers, ascending: those of `model.cutoff_layer`, or the last layer.

    Args:
        config: config.json of the checkpoint.
        model: the configuration.
        first: the lowest layer that has a head, counted from 1.
        step: number of layers from one head to the next.

    Raises:
        ConfigError: one of these layers has no head.

    """
    layers = config["num_hidden_layers"]
    cutoffs = model.cutoff_layers or [layers]
    if not set(cutoffs).issubset(range(first, layers + 1, step)):
        every = "" if step == 1 else f", in steps of {step}"
        raise ConfigError(
            f"model.cutoff_layer={as_configured(cutoffs)}: the checkpoint has heads after layers "
            f"{first} to {layers}{every}; choose one or more of these layers"
        )
    return cutoffs


def runs_own_code(checkpoint: Checkpoint, model: ModelConfig) -> bool:
    """Whether the checkpoint has its own code, and `model.trust_remote_code` allows it."""
    own = "AutoModelForCausalLM" in (checkpoint.config.get("auto_map") or {})
    return own and model.trust_remote_code


def own_code_record(checkpoint: Checkpoint, model: ModelConfig) -> dict[str, bool]:
    """The entry of the fingerprint for the checkpoint's own code; empty if none runs."""
    return {"own_code": True} if runs_own_code(checkpoint, model) else {}


def as_configured(cutoffs: list[int]) -> int | list[int]:
    """A single layer as a number, several as a list; for messages and the fingerprint."""
    return cutoffs[0] if len(cutoffs) == 1 else cutoffs


def used_keys(keys: Iterable[str], cutoffs: list[int]) -> tuple[str, ...]:
    """The keys without those of layers above the last cutoff, and without those of other heads."""

    def skipped(key: str) -> bool:
        layer = re.match(r"model\.layers\.(\d+)\.", key)
        return bool(layer and int(layer[1]) >= cutoffs[-1]) or key.startswith("lm_head.")

    return tuple(key for key in keys if not skipped(key))
