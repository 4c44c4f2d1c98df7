"""Keys and values of common prefixes, and forwards that continue from them."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache

from reranker_core.models.batch import LONGEST_WITH_PREFIX, Prefix
from reranker_core.models.networks.last_token_layer import last_states, read_into


class PrefixStates:
    """Keys and values of N prefixes, padded on the right to a common length P.

    Attributes:
        layers: keys and values of each layer, each of shape (N, heads, P, width of a head).

    """

    def __init__(self, layers: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.layers = layers

    @classmethod
    def read(cls, body: Any, ids: torch.Tensor) -> PrefixStates:
        """Run the layers `body` on the ids of prefixes, shape (N, P)."""
        cache: Any = DynamicCache(config=body.config)
        read_into(body, ids, cache)
        return cls([(layer.keys, layer.values) for layer in cache.layers])


def go_on(body: Any, ids: torch.Tensor, lengths: torch.Tensor, prefix: Prefix) -> torch.Tensor:
    """States of the last token, shape (R, width), of sequences that continue a prefix.

    Args:
        body: the layers of a causal model.
        ids: the tokens after the prefix, padded on the right, shape (R, W).
        lengths: number of these tokens, shape (R,).
        prefix: the prefix of each sequence.

    """
    rows, width = ids.shape
    longest = prefix.states.layers[0][0].shape[-2]
    places = torch.arange(width, device=ids.device)
    before = torch.arange(longest, device=ids.device) < prefix.lengths[:, None]
    seen = torch.cat(
        [
            before[:, None, :].expand(rows, width, longest),
            (places[:, None] >= places).expand(rows, width, width),
        ],
        dim=-1,
    )
    return last_states(
        body,
        ids,
        lengths,
        position_ids=prefix.lengths[:, None] + places,
        attention_mask=seen[:, None],
        past_key_values=_Chosen(prefix),
        use_cache=False,
    )


def can_go_on(model: Any) -> bool:
    """Whether a language model can continue from prefixes: its class is one of transformers, it
    uses torch's attention, and its attention window is at least as long as a sequence with a
    prefix.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    everywhere = kinds == {"full_attention"} if kinds else not window
    return (
        type(model).__module__.startswith("transformers.models.")
        and config._attn_implementation == "sdpa"
        and (everywhere or (window or 0) >= LONGEST_WITH_PREFIX)
    )


class _Chosen:
    """What transformers takes for a cache: each row's prefix before its own keys and values."""

    def __init__(self, prefix: Prefix) -> None:
        self._layers, self._index = prefix.states.layers, prefix.index

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of one layer, shape (R, heads, W, width of a head) → (R, heads, P + W, …)."""
        own_keys, own_values = (states[self._index] for states in self._layers[layer])
        return torch.cat([own_keys, keys], -2), torch.cat([own_values, values], -2)
