"""Checkpoints that bring their own code, but that a class of transformers computes without it:
jina-reranker-v2 and gte-multilingual-reranker.

jina-reranker-v2-base-multilingual is XLM-RoBERTa; its weights have the names of the modules of
flash attention. gte-multilingual-reranker-base is transformers' Gte with other rotary positions:
`ntk` multiplies the base by a factor f and divides all frequencies by f^(2 / width of a head).
Source: `NTKScalingRotaryEmbedding` in modeling.py of Alibaba-NLP/new-impl.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from reranker_core.errors import ConfigError, brief

_JINA_MARK = "roberta.emb_ln.weight"
_JINA_LAYER = re.compile(r"roberta\.encoder\.layers\.(\d+)\.(.+)")
_JINA_PARTS = {
    "mixer.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "norm2": "output.LayerNorm",
}
_GTE_MARK = re.compile(r"encoder\.layer\.\d+\.attention\.qkv_proj\.")
# Of new-impl's settings, those that change what is computed, and the only values that Gte computes.
_GTE_ONLY = {
    "position_embedding_type": "rope",
    "layer_norm_type": "layer_norm",
    "logn_attention_scale": False,
    "pack_qkv": True,
}


def native_settings(config: dict[str, Any], names: Iterable[str]) -> dict[str, Any] | None:
    """The settings of the class in transformers that computes the same; None if there is no such
    class.

    Args:
        config: config.json of the checkpoint.
        names: names of the weights; empty if unknown.

    Raises:
        ConfigError: the checkpoint is of a known kind, but a setting is not supported.

    """
    if not config.get("auto_map"):
        return None
    names = set(names)
    kept = {key: value for key, value in config.items() if key != "auto_map"}
    architecture = str((config.get("architectures") or [""])[0])
    if architecture == "XLMRobertaForSequenceClassification" and _JINA_MARK in names:
        return kept | {"model_type": "xlm-roberta"}
    named = config.get("model_type") == "new" and architecture == "NewForSequenceClassification"
    if named and (not names or any(_GTE_MARK.search(name) for name in names)):
        try:
            return _gte(kept)
        except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
            raise ConfigError(
                "config.json: hidden_size, num_attention_heads, rope_theta or rope_scaling cannot "
                f"be used ({brief(error)}). Copy config.json again"
            ) from None
    return None


def native_config(settings: dict[str, Any]) -> Any:
    """The object of transformers for what `native_settings` found."""
    from transformers import AutoConfig

    others = {key: value for key, value in settings.items() if key != "model_type"}
    return AutoConfig.for_model(settings["model_type"], **others)


def native_tensors(tensors: dict[str, Any]) -> dict[str, Any]:
    """The weights under the names of the class in transformers; other checkpoints' unchanged."""
    if _JINA_MARK not in tensors:
        return tensors
    found: dict[str, Any] = {}
    for name, tensor in tensors.items():
        layer = _JINA_LAYER.fullmatch(name)
        if layer is None:
            found[name.replace("roberta.emb_ln.", "roberta.embeddings.LayerNorm.")] = tensor
            continue
        place, (part, _, kind) = f"roberta.encoder.layer.{layer[1]}", layer[2].rpartition(".")
        if part == "mixer.Wqkv":
            thirds = tensor[:].chunk(3)
            for which, third in zip(("query", "key", "value"), thirds, strict=True):
                found[f"{place}.attention.self.{which}.{kind}"] = third.contiguous()
        else:
            found[f"{place}.{_JINA_PARTS.get(part, part)}.{kind}"] = tensor
    return found


def _gte(config: dict[str, Any]) -> dict[str, Any]:
    for key, value in _GTE_ONLY.items():
        if config.get(key, value) != value:
            raise ConfigError(
                f"config.json: {key}={config[key]} is not supported for "
                f"NewForSequenceClassification; expected {value}"
            )
    theta, scaling = float(config.get("rope_theta", 10_000.0)), config.get("rope_scaling")
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": theta}
    if scaling:
        if scaling.get("type") != "ntk" or "mixed_b" in scaling:
            raise ConfigError(f"config.json: rope_scaling={scaling} is not supported; expected ntk")
        factor = float(scaling["factor"])
        width = config["hidden_size"] // config["num_attention_heads"]
        rope = {
            "rope_type": "linear",
            "rope_theta": theta * factor,
            "factor": factor ** (2 / width),
        }
    kept = {
        key: value for key, value in config.items() if key not in ("rope_theta", "rope_scaling")
    }
    return kept | {
        "model_type": "gte",
        "architectures": ["GteForSequenceClassification"],
        "rope_parameters": rope,
    }
