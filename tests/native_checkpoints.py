"""jina-reranker-v2 and gte-multilingual-reranker in the words of their own code, made of the
classes of transformers that compute the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from tests import checkpoints
from tests.checkpoints import LONGEST

_PARTS = {
    "attention.output.dense": "mixer.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "output.LayerNorm": "norm2",
}
THETA, FACTOR = 20_000.0, 8.0  # of gte-multilingual's rotary positions


def jina(folder: Path) -> Path:
    """As jina-reranker-v2-base-multilingual: XLM-RoBERTa in flash attention's names."""
    checkpoints.xlm_roberta(folder)
    found: dict[str, torch.Tensor] = {}
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        head, _, rest = name.partition(".layer.")
        number, _, rest = rest.partition(".")
        part, _, kind = rest.rpartition(".")
        place = f"{head}.layers.{number}."
        if not rest:
            found[name.replace("embeddings.LayerNorm", "emb_ln")] = weight
        elif part == "attention.self.query":
            thirds = [weights[name.replace("query", x)] for x in ("query", "key", "value")]
            found[f"{place}mixer.Wqkv.{kind}"] = torch.cat(thirds)
        elif not part.startswith("attention.self."):
            found[f"{place}{_PARTS[part]}.{kind}"] = weight
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})
    code = "modeling_xlm_roberta.XLMRobertaForSequenceClassification"
    return _rewritten(
        folder,
        ("model_type",),
        auto_map={
            "AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig",
            "AutoModelForSequenceClassification": code,
        },
    )


def gte(folder: Path) -> Path:
    """As gte-multilingual-reranker-base."""
    tokenizer = transformers.XLMRobertaTokenizer(
        vocab=checkpoints._unigrams(), model_max_length=LONGEST
    )
    settings = transformers.GteConfig(**gte_settings(len(tokenizer)))
    checkpoints._save(folder, transformers.GteForSequenceClassification, settings, tokenizer)
    weights = load_file(folder / "model.safetensors")
    renamed = {name.replace("gte.", "new."): weight for name, weight in weights.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    code = "Alibaba-NLP/new-impl--modeling.NewForSequenceClassification"
    return _rewritten(
        folder,
        ("rope_parameters",),
        model_type="new",
        architectures=["NewForSequenceClassification"],
        auto_map={
            "AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig",
            "AutoModelForSequenceClassification": code,
        },
        rope_theta=THETA,
        rope_scaling={"type": "ntk", "factor": FACTOR},
        position_embedding_type="rope",
        layer_norm_type="layer_norm",
        logn_attention_scale=False,
        pack_qkv=True,
        unpad_inputs=True,
        use_memory_efficient_attention=True,
    )


def gte_settings(vocabulary: int) -> dict[str, Any]:
    """Those that transformers' class needs."""
    return {
        **checkpoints._WIDTH,
        "vocab_size": vocabulary,
        "num_hidden_layers": 2,
        "max_position_embeddings": LONGEST,
        "pad_token_id": 1,
        "initializer_range": 0.3,
        "num_labels": 1,
    }


def gte_with_own_frequencies(folder: Path) -> Any:
    """transformers' class in float64, with rotary frequencies as NTKScalingRotaryEmbedding of
    new-impl computes them, whose mixed_b is None.
    """
    size = len(transformers.AutoTokenizer.from_pretrained(folder))
    model, info = transformers.GteForSequenceClassification.from_pretrained(
        folder, config=transformers.GteConfig(**gte_settings(size)), output_loading_info=True
    )
    assert not info["missing_keys"]
    width = model.config.hidden_size // model.config.num_attention_heads
    plain = 1.0 / ((THETA * FACTOR) ** (torch.arange(0, width, 2).float() / width))
    model = model.double().eval()
    usual = model.gte.rotary_emb.inv_freq
    model.gte.rotary_emb.inv_freq = (plain / FACTOR ** (2 / width)).double()
    assert not torch.allclose(usual, model.gte.rotary_emb.inv_freq)
    return model


def _rewritten(folder: Path, drop: tuple[str, ...], **settings: Any) -> Path:
    path = folder / "config.json"
    given = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in given.items() if k not in drop} | settings))
    return folder
