"""Gemma2 with one head per layer, and passages compressed between layers."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from transformers import Gemma2Config, Gemma2Model
from transformers.models.gemma2.modeling_gemma2 import Gemma2PreTrainedModel

from reranker_core.models.batch import Sizes
from reranker_core.models.networks.layer_head import LayerHead

Lengths = TypeVar("Lengths", torch.Tensor, np.ndarray)


class LightweightGemma2(Gemma2PreTrainedModel):
    """Gemma2 up to the last cutoff layer, with compression, and a head for each cutoff."""

    def __init__(self, config: Gemma2Config) -> None:
        super().__init__(config)
        self.model = Gemma2Model(config)
        self.lm_head = LayerHead.numbered(config.heads, config.hidden_size)
        self.post_init()

    def get_output_embeddings(self) -> None:
        """None: the heads are no vocabulary."""

    def forward(
        self, ids: torch.Tensor, lengths: torch.Tensor, passage_starts: torch.Tensor, sizes: Sizes
    ) -> torch.Tensor:
        """Ids padded on the right, shape (R, W) → float32 scores, shape (R, cutoffs).

        `lengths` and `passage_starts` have shape (R,); `sizes` are the same on the host.
        """
        config = self.config
        heads = dict(zip(config.cutoffs, self.lm_head.values(), strict=True))
        scores, known = [], sizes.lengths
        hidden = self.model.embed_tokens(ids)
        positions, mask = _positions(hidden), _causal_mask(hidden)
        for index, layer in enumerate(self.model.layers):
            if index and index in config.compress_layers:
                how = (config.behind, config.compress_ratio)
                known = compressed_lengths(known, sizes.passage_starts, *how)
                hidden = compress(hidden, lengths, passage_starts, *how, width=int(known.max()))
                lengths = compressed_lengths(lengths, passage_starts, *how)
                positions, mask = _positions(hidden), _causal_mask(hidden)
            hidden = layer(
                hidden,
                position_embeddings=self.model.rotary_emb(hidden, positions),
                attention_mask=mask,
                position_ids=positions,
            )
            if index + 1 in heads:
                last = hidden[torch.arange(len(ids), device=ids.device), lengths - 1]
                scores.append(heads[index + 1](self.model.norm(last)))
        logits = torch.stack(scores, 1)
        cap = config.final_logit_softcapping
        return logits if cap is None else torch.tanh(logits / cap) * cap


def compressed_lengths(lengths: Lengths, starts: Any, behind: int, ratio: int) -> Lengths:
    """Number of states that are left of each sequence; tensors or arrays, shape (R,)."""
    windows: Lengths = (lengths - starts - behind + ratio - 1) // ratio
    return starts + windows + behind


def compress(
    hidden: torch.Tensor,
    lengths: torch.Tensor,
    starts: torch.Tensor,
    behind: int,
    ratio: int,
    width: int,
) -> torch.Tensor:
    """Replace each `ratio` neighbouring states of a passage by their mean.

    Args:
        hidden: shape (R, W, H), padded on the right.
        lengths: shape (R,).
        starts: index of the first state of each passage, shape (R,).
        behind: number of states after each passage; they do not change.
        ratio: number of states that become one; the last group of a passage may have fewer.
        width: the largest of the `compressed_lengths`.

    Returns:
        The new states, shape (R, width, H).

    """
    passages = lengths - starts - behind
    windows = (passages + ratio - 1) // ratio
    new = torch.arange(width, device=hidden.device).expand(len(hidden), -1)
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
    return result


def _positions(hidden: torch.Tensor) -> torch.Tensor:
    return torch.arange(hidden.shape[1], device=hidden.device)[None]


def _causal_mask(hidden: torch.Tensor) -> torch.Tensor:
    """Added to the attention's logits; the padding stands behind all tokens, so it needs none."""
    width = hidden.shape[1]
    lowest = torch.finfo(hidden.dtype).min
    mask = torch.full((width, width), lowest, dtype=hidden.dtype, device=hidden.device)
    return mask.triu(1)[None, None]


def gemma2_config(config: dict[str, Any], cutoffs: list[int]) -> Gemma2Config:
    """The checkpoint's config.json as a `Gemma2Config`, with the layers up to the last cutoff."""
    of_the_file = ("architectures", "auto_map", "model_type", "transformers_version", "dtype")
    kept = {key: value for key, value in config.items() if key not in of_the_file}
    kept["num_hidden_layers"] = cutoffs[-1]
    if kept.get("layer_types"):
        kept["layer_types"] = kept["layer_types"][: cutoffs[-1]]
    found = Gemma2Config(**kept | {"tie_word_embeddings": False})
    found.cutoffs = cutoffs
    found._attn_implementation = "eager"  # the only one with soft caps
    return found
