"""What errors of a device mean: too little memory, a lost device, or a bug; and its memory."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
import torch

from reranker_core.device import free_memory, is_lost, is_out_of_memory, may_pass, take_share
from reranker_core.errors import ConfigError, Incomplete

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")

# As torch 2.13, cuBLAS and cuDNN word them.
MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …"),
    torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"
    ),
    MemoryError(),
]
LOST = [
    torch.AcceleratorError("CUDA error: device-side assert triggered"),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx(…)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA driver error: unknown error"),
]
BUGS = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    torch.AcceleratorError("CUDA error: invalid argument"),
]


def answers(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    """A GPU that computes, or raises the error whatever it is asked."""

    def synchronize(device: torch.device) -> None:
        if error is not None:
            raise error

    ones = torch.ones
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(torch, "ones", lambda *size, device: ones(*size))


@pytest.mark.parametrize("error", MEMORY, ids=str)
def test_too_little_memory_is_no_lost_device(error: Exception, monkeypatch: pytest.MonkeyPatch):
    answers(monkeypatch, None)
    assert is_out_of_memory(error)
    assert may_pass(error)
    assert not is_lost(error, CUDA)
    assert not is_lost(error, CPU)


@pytest.mark.parametrize("error", LOST, ids=str)
def test_a_gpu_that_computes_no_more_is_lost(error: Exception, monkeypatch: pytest.MonkeyPatch):
    answers(monkeypatch, torch.AcceleratorError("CUDA error: unspecified launch failure"))
    assert not is_out_of_memory(error)
    assert is_lost(error, CUDA)


@pytest.mark.parametrize("error", BUGS, ids=str)
def test_a_bug_on_a_gpu_that_computes_is_none_of_these(
    error: Exception, monkeypatch: pytest.MonkeyPatch
):
    answers(monkeypatch, None)
    assert not is_out_of_memory(error)
    assert not is_lost(error, CUDA)


def test_a_full_gpu_is_not_lost(monkeypatch: pytest.MonkeyPatch):
    answers(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_lost(RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), CUDA)


def test_other_errors_than_torchs_lose_no_device(monkeypatch: pytest.MonkeyPatch):
    answers(monkeypatch, torch.AcceleratorError("CUDA error: unspecified launch failure"))
    assert not is_lost(ValueError("x"), CUDA)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (TimeoutError(errno.ETIMEDOUT, "timed out"), True),
        (Incomplete("the hub is busy"), True),
        (FileNotFoundError(errno.ENOENT, "model.safetensors"), False),
        (OSError("config.json is not a JSON file"), False),
        (ConfigError("no such model"), False),
        (ValueError("x"), False),
    ],
    ids=str,
)
def test_what_may_pass_is_told_from_what_does_not(error: Exception, passes: bool):
    assert may_pass(error) is passes


def test_float32_is_not_tf32_whatever_a_container_sets():
    code = (
        "import torch\n"
        "from reranker_core.device import exact_float32\n"
        "exact_float32()\n"
        "print(torch.backends.cuda.matmul.fp32_precision, torch.get_float32_matmul_precision())"
    )
    environment = os.environ | {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    found = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert found.split() == ["ieee", "highest"]


@pytest.mark.parametrize(("share", "taken"), [(0.5, 0.475), (0.25, 0.2375), (1, None), (0, None)])
def test_a_replica_with_a_share_of_a_gpu_leaves_the_rest(
    share: float, taken: float | None, monkeypatch: pytest.MonkeyPatch
):
    asked: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", asked.append)
    take_share(share)
    assert asked == ([] if taken is None else [pytest.approx(taken)])


GIB = 1 << 30


@pytest.mark.parametrize(
    ("free", "reserved", "allocated", "fraction", "expected"),
    [
        (40 * GIB, 16 * GIB, 15 * GIB, 1.0, 41 * GIB),
        (1 * GIB, 70 * GIB, 15 * GIB, 1.0, 56 * GIB),  # what torch holds is free, too
        (60 * GIB, 16 * GIB, 15 * GIB, 0.5, 25 * GIB),  # another process has the other half
    ],
)
def test_memory_that_torch_holds_and_does_not_use_is_free(
    free: int,
    reserved: int,
    allocated: int,
    fraction: float,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
):
    facts = {
        "mem_get_info": (free, 80 * GIB),
        "memory_reserved": reserved,
        "memory_allocated": allocated,
        "get_per_process_memory_fraction": fraction,
    }
    for name, value in facts.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_memory(CUDA) == expected
