"""Which device and number format a replica uses, and with how many threads."""

from __future__ import annotations

import torch

from reranker_core.errors import ConfigError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def resolve_device(configured: str) -> str:
    """`cpu` or `cuda`; `auto` takes CUDA where there is one.

    Raises:
        ConfigError: CUDA is asked for and not there.

    """
    if configured == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "model.device=cuda, but torch sees no CUDA device here; set replicas.num_gpus=1 on a "
            "cluster with GPUs and a CUDA build of torch, or model.device=cpu"
        )
    if configured == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return configured


def resolve_dtype(configured: str, device: str) -> tuple[str, str]:
    """The number format and why: `auto` takes bfloat16 where the hardware multiplies it fast, and
    float32 elsewhere, for on other hardware bfloat16 is the slower one.
    """
    if configured != "auto":
        return configured, "as configured"
    if device == "cuda":
        fast, what = torch.cuda.is_bf16_supported(including_emulation=False), "this GPU"
    else:
        fast, what = bool(torch.cpu.get_capabilities().get("amx_bf16")), "this CPU"
    if fast:
        return "bfloat16", f"auto: {what} multiplies bfloat16 natively"
    return "float32", f"auto: {what} has no fast bfloat16"
