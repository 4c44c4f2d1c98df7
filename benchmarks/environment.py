"""What a figure was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch


def describe() -> dict[str, Any]:
    """Commit, hardware and versions."""
    installed = {found.name: found.version for found in importlib.metadata.distributions()}
    packages = ("ray", "torch", "transformers", "sentence-transformers", "pyarrow")
    return {
        "commit": _commit(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "amx_bf16": bool(torch.cpu.get_capabilities().get("amx_bf16")),
        "python": platform.python_version(),
        **{name: installed[name] for name in packages if name in installed},
    }


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
