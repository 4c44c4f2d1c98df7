"""Checks of values in config.json that change what is computed, but no shape."""

from __future__ import annotations

from typing import Any

from reranker_core.checks import Check

# Published models have 1e-12 to 1e-5; a larger one flattens what a norm gives.
_LARGEST_EPSILON = 1e-3
_EPSILONS = ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", "norm_eps", "norm_epsilon")
# Published rerankers take so many tokens, or as many as they have positions for.
_USUAL_LENGTH = 512
_SHORTEST = 128
# In use between the two matrices of a feed-forward; gated ones have sigmoid and tanh elsewhere.
_ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function", "activation")
_NONE = ("linear", "identity", "tanh", "sigmoid", "laplace")
_CAUSAL = "is_decoder true: each token of this encoder would attend to earlier tokens only"


def check_settings(config: Any, is_encoder: bool = False) -> Check:
    """No epsilon and no activation that no trained transformer has, and no causal encoder.

    `is_encoder`: whether each token of the model was trained to attend to all others.
    """
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
    heeded = is_encoder and "is_decoder" in getattr(config, "__dataclass_fields__", ())
    causal = heeded and config.is_decoder is True
    odd += [_CAUSAL] if causal else []
    return Check(
        "architecture",
        "usual_settings",
        not odd,
        ", ".join(odd) or "nothing unusual",
        f"every epsilon of a norm at most {_LARGEST_EPSILON:g}; an activation function (not "
        f"{', '.join(_NONE)}); no is_decoder=true in an encoder",
        "config.json was changed after training, or it belongs to another model. Copy it again. "
        "If the model was trained with these settings, set preflight.checks.architecture=warn.",
    )


def check_length(config: Any, max_length: int, configured: bool, told: int | None = None) -> Check:
    """Report a limit of tokens in a file that is far below what the model can take, and refuse one
    that hardly any passage fits in. A configured limit is never refused. Report also a limit that
    sentence-transformers would take instead.

    Args:
        config: the model's settings.
        max_length: most tokens of a pair in this run.
        configured: whether the configuration says so.
        told: `max_seq_length` in sentence_bert_config.json; None if it says nothing.

    """
    positions = getattr(config, "max_position_embeddings", None)
    usual = min(positions, _USUAL_LENGTH) if isinstance(positions, int) else max_length
    short = not configured and max_length <= usual / 2
    other = not configured and told not in (None, max_length)
    refused = not configured and max_length <= usual / 4 and max_length < _SHORTEST
    return Check(
        "tokenizer",
        "length",
        not refused,
        f"{max_length} tokens per pair, set by model_max_length in tokenizer_config.json; the "
        f"model has {positions} positions. Longer pairs are cut"
        if short
        else f"{max_length} tokens per pair; sentence_bert_config.json says {told}, which "
        "CrossEncoder of sentence-transformers uses. For the same scores, set "
        f"model.max_length={told}"
        if other
        else f"{max_length} tokens per pair",
        f"a limit set in the configuration, or at least {_SHORTEST} tokens, or more than a quarter "
        "of the model's positions",
        f"The limit was probably for a test. Set model.max_length={usual}. If the model was "
        f"trained with it, set model.max_length={max_length}.",
        notable=short or other,
    )
