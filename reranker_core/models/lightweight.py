"""bge-reranker-v2.5-gemma2-lightweight: a head a layer, and passages that shrink on the way up.

Before each layer of `model.compress_layers` the states of the passage are averaged in windows of
`model.compress_ratio` tokens; query and prompt stay as they are, and positions are numbered anew.
Computed with transformers' Gemma2 layers; the checkpoint's own code is not needed, and not used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers import Gemma2Config, Gemma2Model
from transformers.models.gemma2.modeling_gemma2 import Gemma2PreTrainedModel

from reranker_core.batching import Batch
from reranker_core.checkpoint import Checkpoint
from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError
from reranker_core.models.cutoff import LayerHead, cutoff_of, used_keys
from reranker_core.models.family import LoadedModel
from reranker_core.models.loading import load_weights
from reranker_core.models.prompting import PromptFormat, prompt_format

_START_LAYER = _LAYER_STEP = 28  # CostWiseGemmaConfig's defaults


def fits(architecture: str) -> bool:
    """Whether the class that wrote a checkpoint is the lightweight Gemma2."""
    return architecture == "CostWiseGemmaForCausalLM"


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> PromptFormat:
    """The prompt format of a checkpoint.

    Raises:
        ConfigError: template, tokenizer, lengths or layers do not fit.

    """
    found = prompt_format(
        checkpoint,
        model,
        "lightweight",
        cutoff_layer=_cutoff(checkpoint, model),
        compress_layers=sorted(set(model.compress_layers)) if model.compress_ratio > 1 else [],
        compress_ratio=model.compress_ratio,
        lightweight_head=model.lightweight_head,
    )
    window = checkpoint.config.get("sliding_window") or found.max_length
    if found.max_length > window:
        raise ConfigError(
            f"model.max_length: {found.max_length} tokens with the prompt are more than the "
            f"{window} that the sliding attention of {model.path} spans, which compression does "
            "not allow for; lower it"
        )
    return found


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """The layers below the cutoff and one head.

    Raises:
        ConfigError: the checkpoint has no head a layer.
        PreflightRefused: transformers cannot make the model of the folder.

    """
    found = pair_format(checkpoint, model)
    cutoff = found.settings["cutoff_layer"]
    config = _gemma2(checkpoint.config, cutoff)
    config.head = _head(checkpoint.config, cutoff, model.lightweight_head)
    config.compress_layers = found.settings["compress_layers"]
    config.compress_ratio = model.compress_ratio
    config.behind = found.behind
    loaded = load_weights(
        LightweightGemma2, "lightweight", checkpoint, model, dtype=dtype, config=config
    )
    loaded.model.lm_head.float()
    loaded.model.to(device)
    unexpected = used_keys(loaded.unexpected, cutoff)
    return replace(loaded, unexpected=unexpected, head=("lm_head.",))


def forward(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Float32 scores of a batch, shape (rows,)."""
    scores: torch.Tensor = model(batch.ids, batch.mask.sum(1), batch.passage_starts)
    return scores


class LightweightGemma2(Gemma2PreTrainedModel):
    """Gemma2 up to the cutoff layer, with compression between layers and one head."""

    def __init__(self, config: Gemma2Config) -> None:
        super().__init__(config)
        self.model = Gemma2Model(config)
        self.lm_head = LayerHead.among(config.head, config.hidden_size)
        self.post_init()

    def get_output_embeddings(self) -> None:
        """None: the heads are no vocabulary."""

    def forward(
        self, ids: torch.Tensor, lengths: torch.Tensor, passage_starts: torch.Tensor
    ) -> torch.Tensor:
        """Float32 scores, shape (R,), of sequences that are padded on the right, shape (R, W)."""
        config = self.config
        hidden = self.model.embed_tokens(ids)
        positions, mask = _positions(hidden), _causal_mask(hidden)
        for index, layer in enumerate(self.model.layers):
            if index and index in config.compress_layers:
                hidden, lengths = compress(
                    hidden, lengths, passage_starts, config.behind, config.compress_ratio
                )
                positions, mask = _positions(hidden), _causal_mask(hidden)
            hidden = layer(
                hidden,
                position_embeddings=self.model.rotary_emb(hidden, positions),
                attention_mask=mask,
                position_ids=positions,
            )
        last = hidden[torch.arange(len(ids), device=ids.device), lengths - 1]
        scores: torch.Tensor = self.lm_head[str(config.head)](self.model.norm(last))
        cap = config.final_logit_softcapping
        return scores if cap is None else torch.tanh(scores / cap) * cap


def compress(
    hidden: torch.Tensor, lengths: torch.Tensor, starts: torch.Tensor, behind: int, ratio: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Average the passage's states in windows of `ratio`.

    Args:
        hidden: shape (R, W, width), padded on the right.
        lengths: shape (R,).
        starts: where the passages begin, shape (R,).
        behind: how many states stand behind each passage, and stay.
        ratio: states that become one; the last window of a passage may have fewer.

    Returns:
        The states that are left, shape (R, W', width), and their lengths, shape (R,).

    """
    passages = lengths - starts - behind
    windows = (passages + ratio - 1) // ratio
    left = starts + windows + behind
    new = torch.arange(int(left.max()), device=hidden.device).expand(len(hidden), -1)
    begin, end = starts[:, None], (starts + windows)[:, None]
    window = new - begin
    inside = (new >= begin) & (new < end)
    first = torch.where(inside, begin + window * ratio, new)
    first = torch.where(new >= end, new - (windows - passages)[:, None], first)
    count = torch.where(inside, (passages[:, None] - window * ratio).clamp(1, ratio), 1)
    result = torch.zeros(*new.shape, hidden.shape[-1], dtype=hidden.dtype, device=hidden.device)
    for step in range(ratio):
        source = (first + step).clamp(max=hidden.shape[1] - 1)
        weight = torch.where(step < count, 1 / count, 0.0).to(hidden.dtype)
        states = hidden.gather(1, source[..., None].expand(-1, -1, hidden.shape[-1]))
        result += states * weight[..., None]
    return result, left


def _positions(hidden: torch.Tensor) -> torch.Tensor:
    return torch.arange(hidden.shape[1], device=hidden.device)[None]


def _causal_mask(hidden: torch.Tensor) -> torch.Tensor:
    """Added to the attention's logits; the padding stands behind all tokens, so it needs none."""
    width = hidden.shape[1]
    lowest = torch.finfo(hidden.dtype).min
    mask = torch.full((width, width), lowest, dtype=hidden.dtype, device=hidden.device)
    return mask.triu(1)[None, None]


def _cutoff(checkpoint: Checkpoint, model: ModelConfig) -> int:
    config = checkpoint.config
    if not config.get("layer_wise", False):
        raise ConfigError(
            f"model.path={model.path}: config.json says layer_wise=false, so there is no head a "
            "layer; set model.family=llm if it answers with tokens"
        )
    first, step = _heads(config)
    return cutoff_of(config, model, first, step)


def _head(config: dict[str, Any], cutoff: int, choice: str) -> int:
    """Which head. FlagEmbedding 1.4.2 numbers heads by the place of a cutoff among those asked
    for, so a single one always gets the first, which stands for the start layer.
    """
    if choice == "flag_embedding":
        return 0
    first, step = _heads(config)
    return (cutoff - first) // step


def _heads(config: dict[str, Any]) -> tuple[int, int]:
    return config.get("start_layer", _START_LAYER), config.get("layer_sep", _LAYER_STEP)


def _gemma2(config: dict[str, Any], cutoff: int) -> Gemma2Config:
    of_the_file = ("architectures", "auto_map", "model_type", "transformers_version", "dtype")
    kept = {key: value for key, value in config.items() if key not in of_the_file}
    kept["num_hidden_layers"] = cutoff
    if kept.get("layer_types"):
        kept["layer_types"] = kept["layer_types"][:cutoff]
    found = Gemma2Config(**kept | {"tie_word_embeddings": False})
    found._attn_implementation = "eager"  # the only one with soft caps
    return found
