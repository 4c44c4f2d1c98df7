"""Attention within packed sequences on a CPU, by the faster of two kernels.

torch's fused kernel takes as long in bfloat16 as in float32, even on a CPU that multiplies bfloat16
faster. Two batched products with a softmax between them gain from that, but of a causal model they
compute all products, where the fused kernel skips half. So in half precision both are measured, by
length.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

# Of the query, key and value of sequences of equal length, (rows, heads, tokens, width of a head);
# the scale; what each query is not to see, (queries, keys), or None.
Kernel = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, float, torch.Tensor | None], torch.Tensor
]

_BLOCK = 1 << 21  # bytes of products of queries and keys: they are to stay in the caches
# Bytes of such products for one head of the keys; with longer sequences memory would run out.
_LARGEST = 1 << 26
# Keys are filled up to a multiple of it: softmax takes up to five times as long over what is left.
_STEP = 32
_TOKENS, _ROUNDS = 1024, 5  # of a measurement
_WORTH = 0.9  # of the time: where both are nearly as fast, the choice is not to vary
_measuring = threading.Lock()


@torch.library.custom_op("batch_reranker::attention_on_cpu", mutates_args=())
def attention_on_cpu(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    starts: torch.Tensor,
    seen_starts: torch.Tensor,
    scale: float,
    window: Sequence[int],
) -> torch.Tensor:
    """Attention within each sequence, as `packing.attention_within`.

    `starts` and `seen_starts` are the index of each sequence's first query, and of the first key
    that it attends to, and the number of all, shape (R + 1,). Sequences of one length that stand
    together are computed at once.
    """
    found = torch.empty(query.shape, dtype=query.dtype)
    for rows, queries, keys in _runs(starts.tolist(), seen_starts.tolist()):
        parts = ((query, queries), (key, keys), (value, keys))
        q, k, v = (part[chosen].unflatten(0, (rows, -1)).transpose(1, 2) for part, chosen in parts)
        hidden = _hidden(q.shape[2], k.shape[2], *window)
        length = 1 << (k.shape[2] - 1).bit_length()
        of_heads = (*q.shape[1::2], k.shape[1], length, hidden is not None, q.dtype)
        kernel = _faster(*of_heads) if q.shape[2] > 1 else _fused
        found[queries].unflatten(0, (rows, -1)).copy_(
            kernel(q, k, v, scale, hidden).transpose(1, 2)
        )
    return found


@attention_on_cpu.register_fake
def _(query: torch.Tensor, *_: object) -> torch.Tensor:
    return torch.empty(query.shape, dtype=query.dtype)


def _runs(starts: list[int], seen: list[int]) -> Iterator[tuple[int, slice, slice]]:
    """Sequences that stand together and have as many queries and as many keys: how many they are,
    their queries, and their keys.
    """
    begin = 0
    for end in range(1, len(starts)):
        if end + 1 < len(starts) and all(
            where[end + 1] - where[end] == where[begin + 1] - where[begin]
            for where in (starts, seen)
        ):
            continue
        yield end - begin, slice(starts[begin], starts[end]), slice(seen[begin], seen[end])
        begin = end


def _hidden(queries: int, keys: int, before: int, after: int) -> torch.Tensor | None:
    """Which keys each query is not to see; the last query stands at the last key. None: it sees
    all.
    """
    if before < 0 and (after < 0 or queries == 1):
        return None
    place = torch.arange(keys - queries, keys)[:, None]
    distance = torch.arange(keys) - place
    hidden = torch.zeros(queries, keys, dtype=torch.bool)
    if before >= 0:
        hidden |= distance < -before
    if after >= 0:
        hidden |= distance > after
    return hidden


def _fused(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    hidden: torch.Tensor | None,
) -> torch.Tensor:
    """By torch's kernel."""
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=None if hidden is None else ~hidden,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _products(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    hidden: torch.Tensor | None,
) -> torch.Tensor:
    """By two batched products, of a few heads at a time."""
    rows, heads, queries, width = query.shape
    groups, keys = key.shape[1:3]
    # The queries of all heads that share their keys are one matrix.
    shared = heads // groups * queries
    query = _filled(query.reshape(rows, groups, shared, width))
    key, value = _filled(key).transpose(1, 2), _filled(value)
    found = torch.empty(query.shape, dtype=query.dtype)
    a_head = query.shape[1] * key.shape[2] * query.element_size()
    at_once = min(max(_BLOCK // a_head, 1), rows * groups)
    at_once = at_once // groups * groups or at_once  # whole sequences, for few sizes of products
    block = query.new_empty(at_once, query.shape[1], key.shape[2])
    parts = (part.split(at_once) for part in (query, key, value, found))
    for q, k, v, out in zip(*parts, strict=True):
        seen = block[: len(q)]
        seen.baddbmm_(q, k, beta=0, alpha=scale)
        seen[..., keys:] = -torch.inf
        if hidden is not None:
            each = seen[:, :shared].unflatten(1, (-1, queries))
            each[..., :keys].masked_fill_(hidden, -torch.inf)
        torch.bmm(seen.softmax(-1), v, out=out)
    return found[:, :shared].reshape(rows, heads, queries, width)


def _filled(part: torch.Tensor) -> torch.Tensor:
    """Queries, keys or values of all heads, (rows * heads, tokens, width), filled up with zeros."""
    rows, heads, tokens, width = part.shape
    found = part.new_empty(rows, heads, -(-tokens // _STEP) * _STEP, width)
    found[:, :, :tokens] = part
    found[:, :, tokens:] = 0
    return found.flatten(0, 1)


def _faster(*of_heads: Any) -> Kernel:
    """As `_measured`: the same kernel for all threads, so that equal input gives equal scores."""
    with _measuring:
        return _measured(*of_heads)


@functools.cache
def _measured(
    heads: int, width: int, groups: int, length: int, causal: bool, dtype: torch.dtype
) -> Kernel:
    """The kernel that is faster for sequences of this length, measured in turn in a moment; the
    fused one in float32, where it always was, and if the products would need much memory.
    """
    if dtype == torch.float32 or heads // groups * length**2 * dtype.itemsize > _LARGEST:
        return _fused
    rows = max(_TOKENS // length, 1)
    query = torch.ones(rows, length, heads, width, dtype=dtype).transpose(1, 2)
    key = torch.ones(rows, length, groups, width, dtype=dtype).transpose(1, 2)
    hidden = _hidden(length, length, -1, 0 if causal else -1)
    best = {_fused: float("inf"), _products: float("inf")}
    for round_ in range(_ROUNDS + 1):  # the first one prepares the kernels
        for kernel in best:
            start = time.perf_counter()
            kernel(query, key, key, 1.0, hidden)
            if round_:
                best[kernel] = min(best[kernel], time.perf_counter() - start)
    return _products if best[_products] <= _WORTH * best[_fused] else _fused
