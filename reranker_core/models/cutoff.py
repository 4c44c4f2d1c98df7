"""What the families with a head a layer share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError


def cutoff_of(config: dict[str, Any], model: ModelConfig, first: int, step: int = 1) -> int:
    """The configured cutoff layer, or the last.

    Raises:
        ConfigError: no head stands behind that layer.

    """
    layers = config["num_hidden_layers"]
    cutoff = layers if model.cutoff_layer is None else model.cutoff_layer
    if cutoff not in range(first, layers + 1, step):
        every = "" if step == 1 else f", in steps of {step}"
        raise ConfigError(
            f"model.cutoff_layer={cutoff}: the checkpoint has heads behind layers {first} to "
            f"{layers}{every}; choose one of these"
        )
    return cutoff


def used_keys(keys: Iterable[str], cutoff: int) -> tuple[str, ...]:
    """Without those of the layers above the cutoff, and of other heads."""

    def skipped(key: str) -> bool:
        layer = re.match(r"model\.layers\.(\d+)\.", key)
        return bool(layer and int(layer[1]) >= cutoff) or key.startswith("lm_head.")

    return tuple(key for key in keys if not skipped(key))
