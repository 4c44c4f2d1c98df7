"""The last layer of a causal model, computed only for the token that the head reads."""

from __future__ import annotations

from typing import Any

import torch

# Whose layers add what attention and feed-forward give to what came in, each behind a norm, in
# transformers 5.23.
_LIKE_LLAMA = {"gemma", "llama", "mistral", "qwen2", "qwen3"}


class LastTokenLayer(torch.nn.Module):
    """A Llama layer whose feed-forward network, most of its work, runs for one token per row."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        # Under their own names, so that those of the weights stay.
        self.input_layernorm, self.self_attn = layer.input_layernorm, layer.self_attn
        self.post_attention_layernorm, self.mlp = layer.post_attention_layernorm, layer.mlp

    def forward(self, hidden: torch.Tensor, last: torch.Tensor, **how: Any) -> torch.Tensor:
        """States, shape (R, W, H), and the index of one token per row, shape (R,) → (R, 1, H)."""
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden), **how)
        rows = torch.arange(len(hidden), device=hidden.device)
        state = (hidden + attended)[rows, last][:, None]
        found: torch.Tensor = state + self.mlp(self.post_attention_layernorm(state))
        return found


def read_last_token_only(body: Any) -> None:
    """Replace the last layer of a decoder by a `LastTokenLayer`, if its layers are known to allow
    it.
    """
    layer = _last_layer(body)
    stock = type(layer).__module__.startswith("transformers.models.")
    if stock and body.config.model_type in _LIKE_LLAMA:
        body.layers[-1] = LastTokenLayer(layer)


def last_states(body: Any, ids: torch.Tensor, lengths: torch.Tensor, **how: Any) -> torch.Tensor:
    """States of the last token of sequences padded on the right, shape (R, W) → (R, H)."""
    last = lengths - 1
    if _reads_last_only(body):
        hidden: torch.Tensor = body(input_ids=ids, last=last, **how).last_hidden_state
        return hidden[:, 0]
    hidden = body(input_ids=ids, **how).last_hidden_state
    return hidden[torch.arange(len(ids), device=ids.device), last]


def read_into(body: Any, ids: torch.Tensor, cache: Any) -> None:
    """Write the keys and values of all layers and tokens into `cache`; no states are computed."""
    last = {"last": torch.zeros_like(ids[:, 0])} if _reads_last_only(body) else {}
    body(input_ids=ids, past_key_values=cache, use_cache=True, **last)


def _reads_last_only(body: Any) -> bool:
    return isinstance(_last_layer(body), LastTokenLayer)


def _last_layer(body: Any) -> Any:
    layers = getattr(body, "layers", None)
    return layers[-1] if isinstance(layers, torch.nn.ModuleList) and len(layers) else None
