"""Attention on a CPU: both kernels give each sequence what it gets alone."""

from __future__ import annotations

import functools
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from reranker_core.models.networks import cpu_attention
from reranker_core.models.networks.cpu_attention import attention_on_cpu

QUERIES, KEYS = (40, 40, 17, 17, 17, 3, 1), (50, 50, 27, 27, 20, 3, 33)
KERNELS = (cpu_attention._fused, cpu_attention._products)


def packed(lengths: tuple[int, ...], heads: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(sum(lengths), heads, width, generator=torch.Generator().manual_seed(seed))


def starts(lengths: tuple[int, ...]) -> torch.Tensor:
    return torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)


def alone(parts: list[torch.Tensor], scale: float, window: tuple[int, int]) -> torch.Tensor:
    """As the definition says, sequence by sequence."""
    found, (before, after) = [], window
    split = zip(parts[0].split(QUERIES), *(p.split(KEYS) for p in parts[1:]), strict=True)
    for query, key, value in split:
        key, value = (p.repeat_interleave(query.shape[1] // p.shape[1], 1) for p in (key, value))
        seen = torch.einsum("qhd,khd->hqk", query, key) * scale
        distance = torch.arange(len(key)) - torch.arange(len(key) - len(query), len(key))[:, None]
        if before >= 0:
            seen[:, distance < -before] = -torch.inf
        if after >= 0:
            seen[:, distance > after] = -torch.inf
        found.append(torch.einsum("hqk,khd->qhd", seen.softmax(-1), value))
    return torch.cat(found)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("window", [(-1, -1), (-1, 0), (15, 0), (4, 4)])
@pytest.mark.parametrize(("heads", "groups", "width"), [(12, 12, 32), (8, 2, 64), (8, 1, 256)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_sequences_attend_to_their_own_keys_alone(
    kernel: Any,
    window: tuple[int, int],
    heads: int,
    groups: int,
    width: int,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(cpu_attention, "_faster", lambda *_: kernel)
    parts = [packed(QUERIES, heads, width, 1)]
    parts += [packed(KEYS, groups, width, seed) for seed in (2, 3)]
    expected = alone(parts, width**-0.5, window)
    with torch.inference_mode():
        found = attention_on_cpu(
            *(part.to(dtype) for part in parts), starts(QUERIES), starts(KEYS), width**-0.5, window
        )
    assert found.dtype == dtype
    assert found.is_contiguous()
    limit = 1e-5 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(found.float(), expected, atol=limit, rtol=0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_large_products_are_computed_a_few_heads_at_a_time(
    kernel: Any, monkeypatch: pytest.MonkeyPatch
):
    query, key, value = (packed((200, 200), 4, 16, seed) for seed in range(3))
    bounds, calls = starts((200, 200)), []
    monkeypatch.setattr(cpu_attention, "_faster", lambda *_: kernel)
    whole = attention_on_cpu(query, key, value, bounds, bounds, 0.25, (-1, -1))
    monkeypatch.setattr(cpu_attention, "_BLOCK", 224 * 224 * 4 * 3)  # three of eight heads
    product = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *a, **k: calls.append(a) or product(*a, **k))
    parts = attention_on_cpu(query, key, value, bounds, bounds, 0.25, (-1, -1))
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=0)
    assert [len(seen) for seen, _ in calls] == ([3, 3, 2] if kernel is KERNELS[1] else [])


def slowed(function: Any) -> Any:
    def slow(*args: Any, **how: Any) -> Any:
        for _ in range(40):
            found = function(*args, **how)
        return found

    return slow


def test_the_kernel_is_chosen_by_time(monkeypatch: pytest.MonkeyPatch):
    chosen = cpu_attention._measured.__wrapped__
    which = (4, 64, 4, 256, False, torch.bfloat16)
    fused = cpu_attention.scaled_dot_product_attention
    monkeypatch.setattr(cpu_attention, "scaled_dot_product_attention", slowed(fused))
    assert chosen(*which) is cpu_attention._products
    monkeypatch.undo()
    monkeypatch.setattr(torch, "bmm", slowed(torch.bmm))
    assert chosen(*which) is cpu_attention._fused


def test_long_sequences_do_not_need_the_memory_of_all_their_products(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(torch, "bmm", None)  # it is not even tried
    which = (8, 256, 1, 8192, True, torch.bfloat16)
    assert cpu_attention._measured.__wrapped__(*which) is cpu_attention._fused


def test_threads_that_measure_at_once_get_the_same_kernel(monkeypatch: pytest.MonkeyPatch):
    def measured(*_: object) -> object:
        time.sleep(0.05)
        return object()

    monkeypatch.setattr(cpu_attention, "_measured", functools.cache(measured))
    with ThreadPoolExecutor(4) as threads:
        chosen = {threads.submit(cpu_attention._faster, 4, 64) for _ in range(4)}
        assert len({kernel.result() for kernel in chosen}) == 1


def test_in_float32_nothing_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cpu_attention, "scaled_dot_product_attention", None)
    which = (4, 64, 4, 256, False, torch.float32)
    assert cpu_attention._measured.__wrapped__(*which) is cpu_attention._fused
