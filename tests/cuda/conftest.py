"""Tests on a real GPU. They are skipped where torch finds none, as in CI.

`python -m pytest tests/cuda` needs no Ray, no store and no other reranker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

import pytest

# What reproducible scores set (reranker_core/device.py), for cuBLAS has run before their tests.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture(scope="session", autouse=True)
def gpu() -> str:
    """The name of the device."""
    import torch

    from reranker_core.device import exact_float32

    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    exact_float32()
    return "cuda"


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From the name of a case to its checkpoint, which is made once."""
    from tests.cuda.families import CASES

    return cache(lambda name: CASES[name].make(tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="session")
def scorer_of(gpu: str, folder_of: Callable[[str], Path]) -> Callable[..., object]:
    """From the name of a case, and settings, to a scorer without preflight."""
    from tests.cuda.families import CASES
    from tests.parity.common import load

    def scorer(name: str, *settings: str, device: str = gpu) -> object:
        case = CASES[name]
        chosen = (*case.settings, f"model.device={device}", *settings)
        return load(folder_of(name), case.most, case.query_most, *chosen)

    return scorer


@pytest.fixture
def memory_for(gpu: str) -> Callable[[int], AbstractContextManager[None]]:
    """`with memory_for(n)`: this process may take n bytes more than it has now."""
    import torch

    from reranker_core.device import release_memory

    device = torch.device(gpu)

    @contextmanager
    def limited(more: int) -> Iterator[None]:
        release_memory(device)
        _, total = torch.cuda.mem_get_info(device)
        torch.cuda.set_per_process_memory_fraction(
            (torch.cuda.memory_reserved(device) + more) / total
        )
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            release_memory(device)

    return limited
