"""Which device and number format a replica uses, and with how many threads."""

from __future__ import annotations

import errno
import functools
import gc
import os
import platform
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from reranker_core.errors import ConfigError, RerankError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

# Rows and columns of the matrices that measure a CPU, and how much faster bfloat16 must be, for
# only products gain by it.
_MEASURED, _ROUNDS, _FASTER = 512, 7, 1.5
# What errors say that are for want of memory. cuBLAS and cuDNN have no memory for their own work
# where they cannot allocate or be initialized.
_NO_MEMORY = (
    "DefaultCPUAllocator",
    "CUDA out of memory",
    "HIP out of memory",
    "CUDA error: out of memory",
    "cudaErrorMemoryAllocation",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUFFT_ALLOC_FAILED",
    "unable to find an engine to execute this computation",
)
# Of a share of a GPU; the CUDA context of each process needs some memory, too.
_OWN = 0.95
_MAY_PASS = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EINTR,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ECONNRESET,
    errno.ECONNREFUSED,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EREMOTEIO,
}


def resolve_device(configured: str) -> str:
    """`cpu` or `cuda`; `auto` takes CUDA where there is one.

    Raises:
        ConfigError: CUDA is asked for and not there.

    """
    if configured == "cuda" and not torch.cuda.is_available():
        if torch.version.cuda:
            raise ConfigError(
                f"model.device=cuda: torch {torch.__version__} for CUDA {torch.version.cuda} finds "
                f"no GPU on {os.uname().nodename}. The NVIDIA driver is missing, too old for this "
                "CUDA version, or broken: run nvidia-smi on this node. If it has no GPU, set "
                "model.device=cpu, or use a machine or a Ray cluster with GPUs"
            )
        raise ConfigError(
            f"model.device=cuda: torch {torch.__version__} finds no CUDA device here; set "
            "model.device=cpu, or install a CUDA build of torch on a machine with a GPU. A job on "
            "a Ray cluster with GPUs needs ray.address and replicas.num_gpus=1"
        )
    if configured == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return configured


def refuse_absent_gpus(num_gpus: float | None) -> None:
    """Check `replicas.num_gpus` on this machine, which runs all replicas.

    Raises:
        ConfigError: GPUs are asked for and not there.

    """
    if num_gpus and not torch.cuda.is_available():
        raise ConfigError(
            f"replicas.num_gpus={num_gpus:g}, but torch finds no GPU on {os.uname().nodename}. Set "
            "ray.address to a cluster with GPUs, or leave replicas.num_gpus out to use the CPUs of "
            "this machine"
        )


def number_formats(configured: str, device: str) -> dict[str, str]:
    """The number formats to try, in this order, each with the reason; one if it is configured.

    `auto` begins with those in which the device multiplies fast: on other hardware half precision
    is the slower one. A CPU's rates are measured. bfloat16 comes before float16, for it has the
    range of float32.
    """
    if configured != "auto":
        return {configured: "as configured"}
    if device == "cuda":
        found = {"float16": "this GPU multiplies float16 natively"}
        if torch.cuda.is_bf16_supported(including_emulation=False):
            found = {"bfloat16": "this GPU multiplies bfloat16 natively"} | found
        return found | {"float32": "the fallback"}
    times = _gain_of_bfloat16()
    if times >= _FASTER:
        return {
            "bfloat16": f"this CPU multiplies bfloat16 {times:.1f} times as fast as float32",
            "float32": "the fallback",
        }
    return {"float32": f"this CPU multiplies bfloat16 only {times:.1f} times as fast"}


@functools.cache
def _gain_of_bfloat16() -> float:
    """How many times as fast this CPU multiplies bfloat16 as float32, measured in turn in a moment.

    A list of instructions would have to know all CPUs, and would not know what torch makes of them.
    """
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    with torch.inference_mode():
        operands = {dtype: torch.ones(_MEASURED, _MEASURED, dtype=dtype) for dtype in best}
        for matrix in operands.values():
            torch.nn.functional.linear(matrix, matrix)  # the first call prepares the kernel
        for _ in range(_ROUNDS):
            for dtype, matrix in operands.items():
                start = time.perf_counter()
                torch.nn.functional.linear(matrix, matrix)
                best[dtype] = min(best[dtype], time.perf_counter() - start)
    return best[torch.float32] / best[torch.bfloat16]


def keep_order_of_sums() -> None:
    """Let MKL sum in one order, however many of its threads get a core.

    It reads this before its first product, so that a process must have made none.
    """
    torch.set_num_threads(torch.get_num_threads())  # also: no fewer when cores are busy
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as cuBLAS documents


def one_attention(wanted: bool) -> AbstractContextManager[None]:
    """One kernel of attention for all batches within the `with` block, with and without a mask; on
    a CPU there is one anyway.
    """
    if not wanted or not torch.cuda.is_available():
        return nullcontext()
    return sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])


def processor(device: str) -> str:
    """The name of the GPU or of the CPU, such as `NVIDIA H100 80GB HBM3`."""
    if device != "cpu":
        return torch.cuda.get_device_name(torch.device(device))
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor()


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """So many threads for torch's CPU kernels within the `with` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def exact_float32() -> None:
    """Compute float32 products in float32. Containers may set TORCH_ALLOW_TF32_CUBLAS_OVERRIDE,
    which leaves 10 of 23 bits.
    """
    torch.set_float32_matmul_precision("highest")


def take_share(share: float) -> None:
    """Use no more than this share of the GPU, whose other parts belong to other processes."""
    if 0 < share < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share * _OWN)


def total_memory(device: torch.device) -> int:
    """Bytes of a GPU that this process may use."""
    _, total = torch.cuda.mem_get_info(device)
    return int(total * torch.cuda.get_per_process_memory_fraction(device))


def free_memory(device: torch.device) -> int:
    """Bytes of a GPU that this process could use now: free, or held by torch and not in use."""
    free, _ = torch.cuda.mem_get_info(device)
    used = torch.cuda.memory_allocated(device)
    held = torch.cuda.memory_reserved(device) - used
    return min(free + held, total_memory(device) - used)


def is_lost(error: Exception, device: torch.device) -> bool:
    """Whether an error leaves the device useless for this process, as a CUDA assertion does.

    The class of the error does not tell: libraries of CUDA report a dead device as a RuntimeError,
    and torch reports wrong arguments as an AcceleratorError. So a GPU is asked to compute.
    """
    if device.type != "cuda":
        return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)
    return isinstance(error, RuntimeError) and not _computes(device)


def _computes(device: torch.device) -> bool:
    try:
        torch.cuda.synchronize(device)
        return torch.ones(2, device=device).sum().item() == 2
    except Exception as error:  # noqa: BLE001 - of a dead device all fail, each in its own way
        return is_out_of_memory(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether something failed for want of memory, and can be tried with less."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # Neither the allocator of a CPU nor the libraries of CUDA have a class of their own.
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)


def may_pass(error: BaseException) -> bool:
    """Whether loading a model may succeed later without a change: another process may still hold
    memory, a disk or a network may fail for a moment.
    """
    if is_out_of_memory(error) or (isinstance(error, RerankError) and error.retryable):
        return True
    return isinstance(error, OSError) and error.errno in _MAY_PASS


def release_memory(device: torch.device) -> None:
    """Give memory that is cached, but not used, back to where it came from."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # raises where the device is lost
        torch.cuda.empty_cache()
