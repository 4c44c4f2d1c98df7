"""Rerankers with a head a layer, made without FlagEmbedding, which is not wherever a GPU is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from reranker_core.models.networks.gemma2 import LightweightGemma2, gemma2_config
from reranker_core.models.networks.minicpm import LayerwiseMiniCPM, granite_config
from tests.decoder_checkpoints import _WIDTH, _ids, sentence_pieces

_LAYERS, _START = 6, 2


def minicpm(folder: Path) -> Path:
    """As `decoder_checkpoints.minicpm_layerwise`."""
    settings = {"num_key_value_heads": 2, "scale_emb": 12, "scale_depth": 1.4}
    return _save(
        folder,
        "right",
        {"architectures": ["LayerWiseMiniCPMForCausalLM"], "model_type": "minicpm", **settings},
        lambda config, cutoffs, heads: LayerwiseMiniCPM(granite_config(config, cutoffs, heads)),
    )


def lightweight(folder: Path) -> Path:
    """As `decoder_checkpoints.gemma2_lightweight`."""
    settings = {
        "head_dim": 8,
        "num_key_value_heads": 2,
        "query_pre_attn_scalar": 8,
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 3.0,
        "layer_sep": 1,
        "layer_wise": True,
    }

    def network(config: dict[str, Any], cutoffs: list[int], heads: list[int]) -> Any:
        found = gemma2_config(config, cutoffs)
        found.heads = heads
        return LightweightGemma2(found)

    names = {"architectures": ["CostWiseGemmaForCausalLM"], "model_type": "cost_wise_gemma"}
    return _save(folder, "left", {**names, **settings}, network)


def _save(folder: Path, padding_side: str, settings: dict[str, Any], network: Any) -> Path:
    tokenizer = sentence_pieces(padding_side)
    config = {
        **(_WIDTH | {"num_hidden_layers": _LAYERS}),
        **_ids(tokenizer),
        "start_layer": _START,
        **settings,
    }
    cutoffs = [*range(_START, _LAYERS + 1)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        model = network(config, cutoffs, [*range(len(cutoffs))])
        for name, weight in model.named_parameters():
            if "norm" in name:
                torch.nn.init.normal_(weight, mean=weight.detach().mean().item(), std=0.2)
            elif "lm_head" in name or "embed" in name:
                torch.nn.init.normal_(weight, std=_WIDTH["initializer_range"])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    return folder
