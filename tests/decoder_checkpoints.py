"""Tiny language-model rerankers on disk, as `tests.checkpoints` makes encoders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

from tests.checkpoints import TEXTS

LONGEST = 2000  # ids that every checkpoint here takes at most
# What the checkpoints call themselves: a language model of no name is refused.
NAMES = {
    "GemmaForCausalLM": "BAAI/bge-reranker-v2-gemma",
    "Gemma2ForCausalLM": "own/bge-reranker-gemma2",
    "LlamaForCausalLM": "own/bge-reranker-llama",
    "Qwen2ForCausalLM": "mixedbread-ai/mxbai-rerank-base-v2",
    "Qwen3ForCausalLM": "Qwen/Qwen3-Reranker-0.6B",
    "Qwen3ForSequenceClassification": "tomaarsen/Qwen3-Reranker-0.6B-seq-cls",
    "T5ForConditionalGeneration": "castorini/monot5-small-msmarco-10k",
    "MT5ForConditionalGeneration": "unicamp-dl/mt5-base-mmarco-v2",
}
_QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_WIDTH = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": LONGEST,
    "initializer_range": 0.25,
}
# So that the answers are single tokens, as they are in the real vocabularies.
_ANSWERS = "Yes No yes no true false 1 0 Yes No yes no true false 1 0"


def gemma(folder: Path, padding_side: str = "left") -> Path:
    """As bge-reranker-v2-gemma: tied embeddings, one key-value head, a BOS of its own."""
    tokenizer = sentence_pieces(padding_side)
    config = transformers.GemmaConfig(
        **_WIDTH, **_ids(tokenizer), head_dim=8, num_key_value_heads=1, tie_word_embeddings=True
    )
    return save(folder, transformers.GemmaForCausalLM, config, tokenizer)


def gemma_untied(folder: Path) -> Path:
    """Output embeddings of their own, padding on the right."""
    tokenizer = sentence_pieces("right")
    config = transformers.GemmaConfig(
        **_WIDTH, **_ids(tokenizer), head_dim=8, num_key_value_heads=4, tie_word_embeddings=False
    )
    return save(folder, transformers.GemmaForCausalLM, config, tokenizer)


def gemma2(folder: Path) -> Path:
    """Soft caps on attention and logits, layers with a sliding window."""
    tokenizer = sentence_pieces("right")
    config = transformers.Gemma2Config(
        **_WIDTH,
        **_ids(tokenizer),
        head_dim=8,
        num_key_value_heads=2,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=3.0,
        sliding_window=24,
    )
    return save(folder, transformers.Gemma2ForCausalLM, config, tokenizer)


def qwen3(folder: Path, **settings: Any) -> Path:
    """As Qwen3-Reranker: byte-level BPE without a BOS, grouped queries, padding on the left."""
    return _qwen3(folder, transformers.Qwen3ForCausalLM, tie_word_embeddings=True, **settings)


def qwen2(folder: Path) -> Path:
    """As mxbai-rerank-v2: attention with biases, tied."""
    tokenizer = byte_pairs()
    config = transformers.Qwen2Config(
        **_WIDTH,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return save(folder, transformers.Qwen2ForCausalLM, config, tokenizer)


def llama(folder: Path) -> Path:
    """Grouped queries, untied, and a BOS that is the PAD as well."""
    tokenizer = sentence_pieces("right", pad="<bos>")
    assert tokenizer.bos_token_id == tokenizer.pad_token_id
    config = transformers.LlamaConfig(
        **_WIDTH, **_ids(tokenizer), num_key_value_heads=2, tie_word_embeddings=False
    )
    return save(folder, transformers.LlamaForCausalLM, config, tokenizer)


def qwen3_classifier(folder: Path, **settings: Any) -> Path:
    """As Qwen3-Reranker that was saved with a classification head in place of its answers."""
    return _qwen3(folder, transformers.Qwen3ForSequenceClassification, num_labels=1, **settings)


def qwen3_labels(folder: Path, *names: str) -> Path:
    """The same with several labels."""
    named = {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
    return _qwen3(folder, transformers.Qwen3ForSequenceClassification, **named)


def _qwen3(folder: Path, architecture: Any, **settings: Any) -> Path:
    tokenizer = byte_pairs()
    usual = _WIDTH | {"head_dim": 8, "num_key_value_heads": 2}
    config = transformers.Qwen3Config(
        **usual | settings, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id
    )
    return save(folder, architecture, config, tokenizer)


def nemotron(folder: Path) -> Path:
    """As llama-nemotron-rerank: code of its own, a Llama that attends both ways, and an average."""
    tokenizer = sentence_pieces("left")
    config = transformers.LlamaConfig(
        **_WIDTH, **_ids(tokenizer), num_key_value_heads=2, num_labels=1
    )
    save(folder, transformers.LlamaForSequenceClassification, config, tokenizer)
    (folder / "llama_bidirectional.py").write_text(_BIDIRECTIONAL)
    return change(
        folder,
        "config.json",
        _name_or_path="nvidia/llama-nemotron-rerank-1b-v2",
        architectures=["LlamaBidirectionalForSequenceClassification"],
        model_type="llama_bidirectional",
        auto_map={
            "AutoConfig": "llama_bidirectional.LlamaBidirectionalConfig",
            "AutoModelForSequenceClassification": "llama_bidirectional."
            "LlamaBidirectionalForSequenceClassification",
        },
    )


_BIDIRECTIONAL = """
import torch
from transformers import LlamaConfig, LlamaModel
from transformers.models.llama.modeling_llama import LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class LlamaBidirectionalConfig(LlamaConfig):
    model_type = "llama_bidirectional"


class LlamaBidirectionalForSequenceClassification(LlamaPreTrainedModel):
    config_class = LlamaBidirectionalConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.score = torch.nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **given):
        both_ways = torch.where(attention_mask[:, None, None].bool(), 0.0, float("-inf"))
        hidden = self.model(
            input_ids=input_ids,
            attention_mask=both_ways.to(self.dtype).expand(-1, 1, input_ids.shape[1], -1),
            use_cache=False,
        ).last_hidden_state
        weight = attention_mask[..., None].to(hidden.dtype)
        pooled = (hidden * weight).sum(1) / weight.sum(1)
        return SequenceClassifierOutput(logits=self.score(pooled))
"""


def minicpm_layerwise(folder: Path) -> Path:
    """As bge-reranker-v2-minicpm-layerwise: scaled embeddings and residuals, a head a layer."""
    from tests import flag_models

    tokenizer = sentence_pieces("right")
    config = flag_models.LayerWiseMiniCPMConfig(
        **_WIDTH | {"num_hidden_layers": 6},
        **_ids(tokenizer),
        num_key_value_heads=2,
        scale_emb=12,
        scale_depth=1.4,
        dim_model_base=8,
        start_layer=2,
        tie_word_embeddings=False,
    )
    save(folder, flag_models.LayerWiseMiniCPMForCausalLM, config, tokenizer)
    code = {"AutoConfig": "configuration_minicpm_reranker.LayerWiseMiniCPMConfig"}
    return change(folder, "config.json", auto_map=code)


def gemma2_lightweight(folder: Path) -> Path:
    """As bge-reranker-v2.5-gemma2-lightweight: soft caps, a head a layer."""
    from tests import flag_models

    tokenizer = sentence_pieces("left")
    config = flag_models.CostWiseGemmaConfig(
        **_WIDTH | {"num_hidden_layers": 6},
        **_ids(tokenizer),
        head_dim=8,
        num_key_value_heads=2,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=3.0,
        start_layer=2,
        layer_sep=1,
        layer_wise=True,
    )
    save(folder, flag_models.CostWiseGemmaForCausalLM, config, tokenizer)
    code = {"AutoConfig": "gemma_config.CostWiseGemmaConfig"}
    return change(folder, "config.json", auto_map=code)


def monot5(folder: Path, tied: bool = True) -> Path:
    """As monoT5: relative positions; tied ones scale the decoder's output."""
    return _t5(folder, transformers.T5ForConditionalGeneration, transformers.T5Config, tied)


def mt5(folder: Path) -> Path:
    """As mt5-base-mmarco: gated, untied."""
    return _t5(folder, transformers.MT5ForConditionalGeneration, transformers.MT5Config, False)


def _t5(folder: Path, architecture: Any, settings: Any, tied: bool) -> Path:
    tokenizer = sentence_pieces("right")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <eos>", pair="$A <eos> $B <eos>", special_tokens=[("<eos>", 1)]
    )
    config = settings(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        initializer_factor=1.0,
        feed_forward_proj="relu" if tied else "gated-gelu",
        tie_word_embeddings=tied,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    return save(folder, architecture, config, tokenizer)


def sentence_pieces(padding_side: str, pad: str = "<pad>") -> Any:
    """BPE on words with a leading `▁` and bytes for the rest; puts a BOS first, as Gemma's."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=specials, min_frequency=2, show_progress=False
    )
    tokenizer.train_from_iterator([*TEXTS, *[_ANSWERS, *_ANSWERS.split()] * 3], trainer)
    tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side=padding_side,
        pad_token=pad,
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    )


def byte_pairs() -> Any:
    """Byte-level BPE with the chat tokens of Qwen."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=list(_QWEN),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*TEXTS, *[_ANSWERS, *_ANSWERS.split()] * 3], trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side="left",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        model_input_names=["input_ids", "attention_mask"],
    )


def save(folder: Path, architecture: Any, config: Any, tokenizer: Any) -> Path:
    """Weights drawn wide, so that scores differ; norms too, which are all ones or zeros else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        model = architecture(config)
        for name, weight in model.named_parameters():
            if "norm" in name:
                torch.nn.init.normal_(weight, mean=weight.detach().mean().item(), std=0.2)
        # transformers leaves the row of the padding at 0, and one template reads its logit.
        torch.nn.init.normal_(model.get_input_embeddings().weight, std=_WIDTH["initializer_range"])
    model.config.architectures = [architecture.__name__]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    name = NAMES.get(architecture.__name__)
    return change(folder, "config.json", _name_or_path=name) if name else folder


def change(folder: Path, file: str, **values: Any) -> Path:
    """Set keys of one of a checkpoint's JSON files."""
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


def _ids(tokenizer: Any) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
