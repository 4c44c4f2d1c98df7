"""The forward as compiled code, where that is faster."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import torch

from reranker_core.device import torch_threads
from reranker_core.engine import Engine
from reranker_core.errors import brief
from reranker_core.sequences import TokenSequences

log = logging.getLogger(__name__)

_PASSES = 3
_WORTH = 0.95  # of the time; what saves less may be noise


def compile_if_faster(engine: Engine, sequences: TokenSequences, threads: int) -> str:
    """Have an engine compute batches with compiled code, if that takes less time for `sequences`.

    Gives what came of it, in words. Without a compiler, or where it fails, there is a warning and
    the engine stays as it was.

    Args:
        engine: whose model is code of transformers.
        sequences: several, of the lengths that matter.
        threads: of a CPU, for each batch.

    """
    begin, plain = time.perf_counter(), _seconds(engine, sequences)
    # Frozen: weights are constants, which oneDNN packs as its products want them.
    options: dict[str, Any] = {"freezing": True} if engine.device.type == "cpu" else {}
    try:
        engine.compiled = torch.compile(engine.model, dynamic=True, options=options)
        with torch_threads(threads):  # the number is compiled in
            engine.one_batch(sequences, np.arange(2))
        ratio = _seconds(engine, sequences) / plain
    except Exception as error:  # noqa: BLE001 - compilers fail in many ways
        engine.compiled = None
        log.warning(
            "the model could not be compiled (%s); it is computed as it is. A C++ compiler must be "
            "installed where replicas run, or set score.compile=false",
            brief(error),
        )
        return f"not compiled: {brief(error)}"
    taken = time.perf_counter() - begin
    found = "used"
    if ratio > _WORTH:
        engine.compiled, found = None, "not used"
    line = f"compiled code {found}: it takes {ratio:.2f} of the time ({taken:.0f} s to find out)"
    log.info(line)
    return line


def _seconds(engine: Engine, sequences: TokenSequences) -> float:
    """The fastest of some passes."""
    taken = []
    for _ in range(_PASSES):
        start = time.perf_counter()
        engine.compute(sequences)
        taken.append(time.perf_counter() - start)
    return min(taken)
