"""Which device and number format a replica uses, and with how many threads."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from reranker_core.errors import ConfigError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

# Rows and columns of the matrices that measure a CPU, and how much faster bfloat16 must be, for
# only products gain by it.
_MEASURED, _ROUNDS, _FASTER = 512, 7, 1.5


def resolve_device(configured: str) -> str:
    """`cpu` or `cuda`; `auto` takes CUDA where there is one.

    Raises:
        ConfigError: CUDA is asked for and not there.

    """
    if configured == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"model.device=cuda: torch {torch.__version__} finds no CUDA device here; set "
            "model.device=cpu, install a CUDA build of torch, or set ray.address to a cluster with "
            "GPUs (there with replicas.num_gpus=1)"
        )
    if configured == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return configured


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


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """So many threads for torch's CPU kernels within the `with` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_lost(error: Exception) -> bool:
    """Whether an error leaves the device useless for this process, as a CUDA assertion does."""
    return isinstance(error, torch.AcceleratorError)


def is_out_of_memory(error: Exception) -> bool:
    """Whether a forward failed for want of memory, and can be tried with less."""
    # On a CPU torch raises no class of its own, so that only the text tells.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def release_memory(device: torch.device) -> None:
    """Give memory that is cached, but not used, back to where it came from."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
