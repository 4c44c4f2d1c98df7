"""What the families with a head a layer share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError
from reranker_core.models.checkpoint import Checkpoint


def cutoffs_of(config: dict[str, Any], model: ModelConfig, first: int, step: int = 1) -> list[int]:
    """The configured cutoff layers, ascending; the last layer if there are none.

    Raises:
        ConfigError: no head stands behind one of them.

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
    """Whether the checkpoint brings its own code, and may run it."""
    own = "AutoModelForCausalLM" in (checkpoint.config.get("auto_map") or {})
    return own and model.trust_remote_code


def own_code_record(checkpoint: Checkpoint, model: ModelConfig) -> dict[str, bool]:
    """For the fingerprint, which stays what it is without such code."""
    return {"own_code": True} if runs_own_code(checkpoint, model) else {}


def as_configured(cutoffs: list[int]) -> int | list[int]:
    """A single layer without its list, for messages and the fingerprint."""
    return cutoffs[0] if len(cutoffs) == 1 else cutoffs


def used_keys(keys: Iterable[str], cutoffs: list[int]) -> tuple[str, ...]:
    """Without those of the layers above the last cutoff, and of other heads."""

    def skipped(key: str) -> bool:
        layer = re.match(r"model\.layers\.(\d+)\.", key)
        return bool(layer and int(layer[1]) >= cutoffs[-1]) or key.startswith("lm_head.")

    return tuple(key for key in keys if not skipped(key))
