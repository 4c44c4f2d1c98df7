"""Keys and values of common prefixes, and forwards that continue from them."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache

from reranker_core.models.batch import LONGEST_WITH_PREFIX, Packing, Prefix
from reranker_core.models.networks.last_token_layer import read_into


class PrefixStates:
    """Keys and values of N prefixes, padded on the right to a common length P.

    Attributes:
        layers: keys and values of each layer, each of shape (N, heads, P, width of a head), or
            (1, heads, T, width of a head) if the prefixes are packed.

    """

    def __init__(self, layers: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.layers = layers

    @property
    def tokens(self) -> int:
        """T, or P."""
        return self.layers[0][0].shape[-2]

    @classmethod
    def read(cls, body: Any, ids: torch.Tensor, packing: Packing | None = None) -> PrefixStates:
        """Run the layers `body` on the ids of prefixes, shape (N, P), or (1, T) if packed."""
        if packing is not None:
            kept = _Kept()
            read_into(body, ids, kept, **where(ids, packing))
            return cls(kept.layers)
        cache: Any = DynamicCache(config=body.config)
        read_into(body, ids, cache)
        return cls([(layer.keys, layer.values) for layer in cache.layers])


def where(
    ids: torch.Tensor, packing: Packing | None = None, prefix: Prefix | None = None
) -> dict[str, Any]:
    """The arguments that tell a causal model what each token of a batch attends to.

    Without packing and prefix none: the padding stands behind all tokens, and causal attention
    looks back only.

    Args:
        ids: of a `Batch`, shape (R, W), or (1, T) if it is packed; without the prefixes.
        packing: of that batch.
        prefix: of that batch.

    """
    if packing is not None:
        places, before = packing.positions(), None if prefix is None else prefix.lengths
        if before is not None:
            places = places + packing.of_each_token(before)
        how: dict[str, Any] = {"position_ids": places[None], "packing": packing}
        # Not read: transformers makes no mask of its own where it gets one with four dimensions.
        how["attention_mask"] = ids.new_zeros(1, 1, 1, 1)
    elif prefix is not None:
        how = _behind(ids, prefix)
    else:
        return {}
    return how if prefix is None else how | {"past_key_values": ChosenPrefixes(prefix, packing)}


def _behind(ids: torch.Tensor, prefix: Prefix) -> dict[str, Any]:
    """Positions and mask of rows that continue a prefix and are padded on the right."""
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
    return {"position_ids": prefix.lengths[:, None] + places, "attention_mask": seen[:, None]}


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


class _Kept:
    """What transformers takes for a cache: it keeps the keys and values of packed prefixes."""

    def __init__(self) -> None:
        self.layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the next layer."""
        self.layers.append((keys, values))
        return keys, values


class ChosenPrefixes:
    """What transformers takes for a cache: each row's prefix before its own keys and values."""

    def __init__(self, prefix: Prefix, packing: Packing | None) -> None:
        self._prefix, self._packing = prefix, packing

    def of_layer(self, number: int) -> ChosenOfLayer:
        """The same for one layer alone."""
        keys, values = self._prefix.states.layers[number]
        return ChosenOfLayer(keys, values, self._prefix.index, self._packing is not None)

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `ChosenOfLayer.update`."""
        return self.of_layer(layer).update(keys, values)


class ChosenOfLayer:
    """Of one layer, each row's prefix before its own keys and values."""

    def __init__(
        self, keys: torch.Tensor, values: torch.Tensor, index: torch.Tensor, packed: bool
    ) -> None:
        self._keys, self._values, self._index, self._packed = keys, values, index, packed

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of shape (R, heads, W, width of a head) → (R, heads, P + W, …); if packed,
        (1, heads, T, …) → (1, heads, K, …).
        """
        return self._behind(self._keys, keys), self._behind(self._values, values)

    def _behind(self, before: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        if self._packed:
            return torch.cat([before, own], -2)[:, :, self._index]
        return torch.cat([before[self._index], own], -2)
