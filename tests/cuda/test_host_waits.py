"""The host waits for the GPU once for all batches: when their scores are copied."""

from __future__ import annotations

import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from reranker_core.score.scorer import Scorer
from tests.cuda.families import CASES, PAIRS, SHARED

SMALL = "score.max_batch_tokens=2048"  # so that there are several batches
_WAIT = "synchronizing"  # in what torch says of each wait


@contextmanager
def recorded(found: list[str]) -> Any:
    """Where torch says that the host waits: the innermost lines of code, one text a wait."""

    def show(message: Any, *_: Any) -> None:
        if _WAIT in str(message) and "prototype" not in str(message):
            frames = [f for f in traceback.extract_stack()[:-1] if "warnings.py" not in f.filename]
            lines = [f"{'/'.join(Path(f.filename).parts[-2:])}:{f.lineno}" for f in frames[-5:]]
            found.append(f"`{frames[-1].line}` in {' < '.join(reversed(lines))}")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show  # type: ignore[assignment]
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_torch_tells_of_waits(gpu: str):
    """Otherwise the other test would prove nothing."""
    found: list[str] = []
    value = torch.ones(2, device=gpu)
    with recorded(found):
        value.sum().item()
        value.cpu()
    assert len(found) >= 2, found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_the_host_waits_once_for_all_batches(
    name: str, dtype: str, scorer_of: Callable[..., Scorer]
):
    scorer = scorer_of(name, SMALL, f"model.dtype={dtype}")
    sequences, engine = scorer.encode([*PAIRS[::3], *SHARED]), scorer._engine
    engine.compute(sequences)  # the first time kernels are loaded
    batches: list[None] = []
    found: list[str] = []
    scorer.on_batch(lambda: batches.append(None))
    with recorded(found):
        engine.compute(sequences)
    scorer.on_batch(lambda: None)
    assert len(batches) > 1
    allowed = 1 + CASES[name].waits * len(batches)
    told = "\n".join(f"{times}x {where}" for where, times in Counter(found).most_common())
    assert len(found) <= allowed, f"{len(found)} waits in {len(batches)} batches:\n{told}"
