"""For which models compiled code was not faster on such a machine, as earlier replicas found.

The file is in torch's cache of compiled code, so whoever keeps that cache from night to night keeps
both.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import torch
from torch._inductor.runtime.cache_dir_utils import cache_dir

from reranker_core.score.engine import Engine
from reranker_core.storage import disk

_NAME = "batch-reranker-not-faster.json"


def time_of_compiled(engine: Engine) -> float | None:
    """The time that compiled code needed as a share of the plain model's, if it was not worth it in
    an earlier run; None if that is not known.
    """
    return _read().get(_key(engine))


def remember(engine: Engine, ratio: float) -> None:
    """Keep that compiled code needs this share of the time, which is not worth it. If the file
    cannot be written, later replicas measure again.
    """
    with suppress(OSError):
        found = json.dumps(_read() | {_key(engine): round(ratio, 3)}, indent=1)
        disk.write(Path(cache_dir(), _NAME), found.encode(), replace=True)


def _read() -> dict[str, float]:
    try:
        found = json.loads(Path(cache_dir(), _NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    known = found.items() if isinstance(found, dict) else ()
    return {key: ratio for key, ratio in known if isinstance(ratio, float)}


def _key(engine: Engine) -> str:
    """The same for the same layers on the same kind of hardware, with the same libraries."""
    on_gpu = engine.device.type == "cuda"
    hardware = torch.cuda.get_device_name(engine.device) if on_gpu else _cpu()
    weights = [(name, tuple(w.shape), str(w.dtype)) for name, w in engine.model.named_parameters()]
    facts = [torch.__version__, hardware, sorted(engine.compiled_threads), engine.streams, weights]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _cpu() -> list[tuple[str, object]]:
    return sorted(torch.cpu.get_capabilities().items())
