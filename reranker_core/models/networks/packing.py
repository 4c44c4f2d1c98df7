"""Attention within sequences that are placed one after another, so that a batch has no padding.

Padding is computed like text, and attention with a mask runs on slower kernels. On a GPU torch's
`varlen_attn` needs neither, for half precision only. On a CPU packed batches can have few sizes,
for each of which oneDNN keeps memory.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import varlen

from reranker_core.models.batch import Batch, Packing
from reranker_core.models.networks.cpu_attention import attention_on_cpu

log = logging.getLogger(__name__)

_NAME = "packed"  # among the attentions of transformers
_PROBE_LENGTHS = (5, 9, 2)
_SAME = 0.05  # of 1 + |score|, as half precision rounds


@torch.inference_mode()
def pack_if_same(model: Any, forward: Callable[[Any, Batch], torch.Tensor], able: bool) -> None:
    """Set `model.packs`: whether the model takes packed batches.

    It does where there is a kernel, if this does not change the scores of a test input.

    Args:
        model: the network of a family, on its device.
        forward: the family's.
        able: whether it reads its last layer at chosen tokens only.

    """
    table = model.get_input_embeddings().weight
    if not (able and has_kernel(table.device.type, table.dtype)):
        model.packs = False
        return
    _register()
    before = model.config._attn_implementation
    model.config._attn_implementation = _NAME
    try:
        model.packs = _same(model, forward, table.device)
    except (RuntimeError, TypeError, ValueError) as error:  # an older GPU, or wide heads
        log.info("batches are padded: %s", error)
        model.packs = False
    if not model.packs:
        model.config._attn_implementation = before


def has_kernel(device: str, dtype: torch.dtype) -> bool:
    """Whether packed batches are computed on this type of device in this number format."""
    return device == "cpu" or (device == "cuda" and dtype in (torch.bfloat16, torch.float16))


def attention_within(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    tokens: Packing,
    seen: Packing,
    scale: float | None = None,
    window: tuple[int, int] = (-1, -1),
) -> torch.Tensor:
    """Attention within each sequence.

    Args:
        query: of T tokens, shape (T, heads, width of a head), as the result.
        key: of K tokens, shape (K, heads or a divisor of it, width of a head).
        value: as `key`.
        tokens: how the queries are packed.
        seen: how the keys are packed.
        scale: of the products; None: one by the root of the width of a head.
        window: how many tokens before and after its own one a query attends to; -1: all.

    """
    if query.device.type == "cpu":
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        return attention_on_cpu(query, key, value, tokens.starts, seen.starts, scale, window)
    found = varlen.varlen_attn(
        query,
        key,
        value,
        tokens.starts,
        seen.starts,
        tokens.longest,
        seen.longest,
        scale=scale,
        window_size=window,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(found, torch.Tensor)  # the kernel's other results are not asked for
    return found


def packed_positions(embeddings: Any, ids: torch.Tensor, packing: Packing) -> torch.Tensor:
    """The position ids of packed ids, both of shape (1, T), as an encoder's embeddings count."""
    if not hasattr(embeddings, "create_position_ids_from_input_ids"):
        return packing.positions()[None]
    # RoBERTa's: an id of padding has no position, even within a text.
    real = (ids[0] != embeddings.padding_idx).long()
    before = real.cumsum(0) - real
    within = before - packing.of_each_token(before[packing.starts[:-1].long()])
    return ((within + 1) * real + embeddings.padding_idx)[None]


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None = None,
    packing: Packing | None = None,
    sliding_window: int | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """As `sdpa_attention_forward` of transformers; within sequences if `packing` says where they
    are. States have the shape (1, heads, T, width of a head).
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if packing is None:
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **more)
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    window = (sliding_window - 1 if sliding_window else -1, 0 if module.is_causal else -1)
    found = attention_within(query, key, value, packing, packing.seen or packing, scaling, window)
    return found[None], None


@functools.cache
def _register() -> None:
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(_NAME, _attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(_NAME, sdpa_mask)


def _same(model: Any, forward: Callable[[Any, Batch], torch.Tensor], device: torch.device) -> bool:
    """Whether packed sequences get the scores that each of them has alone."""
    words = model.get_input_embeddings().num_embeddings
    ids = torch.arange(sum(_PROBE_LENGTHS), device=device)[None] % words
    ends = [0, *itertools.accumulate(_PROBE_LENGTHS)]
    starts = torch.tensor(ends, dtype=torch.int32, device=device)
    packing = Packing(starts, max(_PROBE_LENGTHS), ends[-1])
    zeros = torch.zeros(len(_PROBE_LENGTHS), dtype=torch.int64, device=device)
    batch = Batch(ids, torch.ones_like(ids), zeros, padded=False, packing=packing)
    found = forward(model, batch)
    alone = [
        forward(model, Batch(one, torch.ones_like(one), zeros[:1], padded=False))
        for one in ids.split(_PROBE_LENGTHS, 1)
    ]
    expected = torch.cat(alone)
    return bool(((found - expected).abs() <= _SAME * (1 + expected.abs())).all())
