"""The last layer of a causal model, computed only for the token that the head reads."""

from __future__ import annotations

from typing import Any

import torch

# Whose layers add what attention and feed-forward give to what came in, each behind a norm, in
# transformers 5.23.
_LIKE_LLAMA = {"gemma", "llama", "mistral", "qwen2", "qwen3"}


class LastTokenLayer(torch.nn.Module):
    """A Llama layer whose feed-forward network, most of its work, runs for chosen tokens only."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        # Under their own names, so that those of the weights stay.
        self.input_layernorm, self.self_attn = layer.input_layernorm, layer.self_attn
        self.post_attention_layernorm, self.mlp = layer.post_attention_layernorm, layer.mlp

    def forward(self, hidden: torch.Tensor, last: torch.Tensor, **how: Any) -> torch.Tensor:
        """States, shape (N, W, H), and the index of R of their N * W tokens → (R, 1, H)."""
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden), **how)
        state = (hidden + attended).flatten(0, 1)[last][:, None]
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


def last_states(body: Any, ids: torch.Tensor, last: torch.Tensor, **how: Any) -> torch.Tensor:
    """States of R tokens, shape (R, H); `ids`, shape (N, W), and `last` as in `Batch`."""
    if reads_last_only(body):
        hidden: torch.Tensor = body(input_ids=ids, last=last, **how).last_hidden_state
        return hidden[:, 0]
    hidden = body(input_ids=ids, **how).last_hidden_state
    return hidden.flatten(0, 1)[last]


def read_into(body: Any, ids: torch.Tensor, cache: Any, **how: Any) -> None:
    """Write the keys and values of all layers and tokens into `cache`; no states are computed."""
    last = {"last": torch.zeros_like(ids[:, 0])} if reads_last_only(body) else {}
    body(input_ids=ids, past_key_values=cache, use_cache=True, **last, **how)


def reads_last_only(body: Any) -> bool:
    """Whether the last layer of a decoder is a `LastTokenLayer`."""
    return isinstance(_last_layer(body), LastTokenLayer)


def _last_layer(body: Any) -> Any:
    layers = getattr(body, "layers", None)
    return layers[-1] if isinstance(layers, torch.nn.ModuleList) and len(layers) else None
