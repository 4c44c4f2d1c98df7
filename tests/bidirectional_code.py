"""A Llama with code of its own that attends in both directions, written for transformers 4."""

from __future__ import annotations

from pathlib import Path

from tests import damage

_CLASS = "LlamaBidirectionalForSequenceClassification"
# As nvidia/llama-nemotron-rerank and other bidirectional Llamas for transformers 4.
BOTH_WAYS = """
import torch
from transformers import LlamaConfig, LlamaModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.llama.modeling_llama import LlamaPreTrainedModel


class LlamaBidirectionalConfig(LlamaConfig):
    model_type = "llama_bidirectional"


class LlamaBidirectionalModel(LlamaModel):
    config_class = LlamaBidirectionalConfig

    def __init__(self, config):
        super().__init__(config)
        for layer in self.layers:
            layer.self_attn.is_causal = False

    {hook}


class LlamaBidirectionalForSequenceClassification(LlamaPreTrainedModel):
    config_class = LlamaBidirectionalConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaBidirectionalModel(config)
        self.score = torch.nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **given):
        found = self.model(input_ids, attention_mask=attention_mask, use_cache=False)
        return SequenceClassifierOutput(logits=self.score(found[0].mean(1)))
"""
UNUSED_MASK = """
    def _update_causal_mask(self, attention_mask, *args, **kwargs):
        if attention_mask is not None and (attention_mask == 0.0).any():
            return attention_mask
        return None
"""


def bidirectional(
    llama: Path, folder: Path, hook: str = UNUSED_MASK, code: str = BOTH_WAYS
) -> Path:
    """A copy of a Llama with this code; `hook` goes into its body. Needs
    model.trust_remote_code=true.
    """
    damage.with_config(
        llama,
        folder,
        model_type="llama_bidirectional",
        architectures=[_CLASS],
        id2label={"0": "LABEL_0"},
        label2id=None,
        auto_map={
            "AutoConfig": "modeling_both.LlamaBidirectionalConfig",
            "AutoModelForSequenceClassification": f"modeling_both.{_CLASS}",
        },
    )
    (folder / "modeling_both.py").write_text(code.replace("{hook}", hook.strip() or "pass"))
    return folder
