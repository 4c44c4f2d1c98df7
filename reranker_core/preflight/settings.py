"""Checks of values in config.json that change what is computed, but no shape."""

from __future__ import annotations

from typing import Any

from reranker_core.checks import Check

# Published models have 1e-12 to 1e-5; a larger one flattens what a norm gives.
_LARGEST_EPSILON = 1e-3
_EPSILONS = ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", "norm_eps", "norm_epsilon")
# In use between the two matrices of a feed-forward; gated ones have sigmoid and tanh elsewhere.
_ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function", "activation")
_NONE = ("linear", "identity", "tanh", "sigmoid")


def check_settings(config: Any) -> Check:
    """No epsilon and no activation that no trained transformer has."""
    odd = [
        f"{name} {value:g}"
        for name in _EPSILONS
        if isinstance(value := getattr(config, name, None), float) and value > _LARGEST_EPSILON
    ]
    odd += [
        f"{name} {value}"
        for name in _ACTIVATIONS
        if isinstance(value := getattr(config, name, None), str) and value.lower() in _NONE
    ]
    return Check(
        "architecture",
        "usual_settings",
        not odd,
        ", ".join(odd) or "nothing unusual",
        f"epsilons of norms up to {_LARGEST_EPSILON:g}, and an activation other than "
        f"{', '.join(_NONE)}",
        "config.json was changed after training, or is that of another model: copy it again. If "
        "the model was trained so, set preflight.checks.architecture=warn.",
    )
