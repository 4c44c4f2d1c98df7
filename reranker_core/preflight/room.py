"""Whether the weights fit the memory of the GPU, seen before they are read."""

from __future__ import annotations

import math

import torch

from reranker_core.checks import Check
from reranker_core.device import DTYPES, total_memory
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.tensors import read_tensors, shape_of

# The CUDA context and the smallest batch need some, too.
_FOR_WEIGHTS = 0.95


def check_room(checkpoint: Checkpoint, dtype: str, device: str) -> list[Check]:
    """The check, where the device is a GPU; none on a CPU."""
    if device != "cuda":
        return []
    gpu = torch.device("cuda", torch.cuda.current_device())
    return [room(checkpoint, dtype, torch.cuda.get_device_name(gpu), total_memory(gpu))]


def room(checkpoint: Checkpoint, dtype: str, name: str, memory: int) -> Check:
    """The check for a GPU with this name and so many bytes of memory."""
    elements = sum(math.prod(shape_of(each)) for each in read_tensors(checkpoint.weights).values())
    needed = elements * DTYPES[dtype].itemsize
    return Check(
        "weights",
        "fits_device",
        needed <= _FOR_WEIGHTS * memory,
        f"the weights need {needed / 2**30:.1f} GiB in {dtype}",
        f"at most {_FOR_WEIGHTS:.0%} of the {memory / 2**30:.1f} GiB that this process may use of "
        f"{name}",
        "Use a GPU with more memory, a larger share of it (replicas.num_gpus=1), or a smaller "
        "number format (model.dtype=bfloat16). This job does not split a model over GPUs.",
    )
