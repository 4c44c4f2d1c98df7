"""Which classes with a classification head are decoders: they read a prompt."""

from __future__ import annotations

import dataclasses
import re

from reranker_core.models.checkpoint import Checkpoint

# For classes that transformers does not know, and the few whose type says something else.
_NAMED = re.compile(
    "Bloom|Falcon|GPT|Gemma|Llama|Ministral|Mistral|Mixtral|OPT|Olmo|Phi|Qwen|SmolLM|StableLm"
)
# They write text, and read both ways.
_BOTH_WAYS = ("xlm", "xlnet")


def is_decoder(checkpoint: Checkpoint) -> bool:
    """Whether the class that wrote a checkpoint is one of a language model's: its type writes text
    in transformers, and is no encoder that may be set to do so (`is_decoder`).
    """
    if _NAMED.match(checkpoint.architecture):
        return True
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = str(checkpoint.config.get("model_type"))
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or kind in _BOTH_WAYS:
        return False
    settings = CONFIG_MAPPING[kind]
    return "is_decoder" not in {field.name for field in dataclasses.fields(settings)}
