"""Which classes with a classification head are decoders. Decoders need a prompt."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from reranker_core.models.checkpoint import Checkpoint

# For classes that transformers does not know, and the few whose type says something else.
_NAMED = re.compile(
    "Bloom|Falcon|GPT|Gemma|Llama|Ministral|Mistral|Mixtral|OPT|Olmo|Phi|Qwen|SmolLM|StableLm"
)
_OF_DECODERS = ("rms_norm_eps", "num_key_value_heads")  # hardly any encoder has these settings
# They generate text, but their attention is bidirectional.
_BOTH_WAYS = ("xlm", "xlnet")


def is_decoder(checkpoint: Checkpoint) -> bool:
    """Whether config.json names a class of a language model: one that generates text in
    transformers, and that is not an encoder with the option `is_decoder`.
    """
    if _NAMED.match(checkpoint.architecture):
        return True
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = str(checkpoint.config.get("model_type"))
    if kind not in CONFIG_MAPPING:
        return _looks_like_one(checkpoint.config)
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or kind in _BOTH_WAYS:
        return False
    settings = CONFIG_MAPPING[kind]
    return "is_decoder" not in {field.name for field in dataclasses.fields(settings)}


def _looks_like_one(config: dict[str, Any]) -> bool:
    """Whether the settings of a type that transformers does not know are those of a decoder."""
    code = config.get("auto_map") or {}
    if "AutoModelForMaskedLM" in code:
        return False
    return "AutoModelForCausalLM" in code or any(key in config for key in _OF_DECODERS)
