"""Compiled code for the forward, if it is faster."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
import torch._dynamo

from reranker_core.device import torch_threads
from reranker_core.encode.sequences import Int64s, TokenSequences, take
from reranker_core.errors import brief
from reranker_core.models.loading import is_half
from reranker_core.score.engine import Engine
from reranker_core.score.exact import in_float32, stacked_layers
from reranker_core.score.verdicts import remember

log = logging.getLogger(__name__)

_ROUNDS = 3
_WORTH = 0.95  # of the time; what saves less may be noise
_WORTH_ON_GPU = 0.98  # whose times differ less
_SAME, _SAME_IN_HALF = 5e-3, 0.03  # of the scores' span, as in preflight
_AS_FAR, _FAR = 2.0, 0.1  # times the rounding of the plain model, and that as part of the span
_LONG = 1800.0  # seconds of scoring beside which a minute of compiling is little


def long_run(engine: Engine, sequences: TokenSequences, pairs: float) -> bool:
    """Whether scoring `pairs` pairs that are as long as `sequences` takes long enough."""
    engine.compute(sequences)
    return _timed(engine, sequences)[0] / len(sequences.chunks) * pairs >= _LONG


def compile_if_faster(engine: Engine, sequences: TokenSequences) -> str:
    """Compile the model of an engine, and use the compiled code if it is faster for `sequences`.

    Returns the outcome in words. If there is no compiler, or if compiling fails or changes scores,
    a warning is logged and the engine does not change.

    Args:
        engine: its model must be code of transformers.
        sequences: several sequences with typical lengths.

    """
    begin = time.perf_counter()
    worth = _WORTH_ON_GPU if engine.device.type == "cuda" else _WORTH
    try:
        ratio, same = _compared(engine, sequences)
        problem, remedy = "" if same else "it gives other scores", ""
    except Exception as error:  # noqa: BLE001 - compilers fail in many ways
        ratio, problem = 1.0, brief(error)
        remedy = " If a C++ compiler is missing, install one on the nodes."
    if problem or ratio > worth:
        engine.compiled = None
        torch._dynamo.reset()
    if problem:
        log.warning(
            "compiled code cannot be used (%s); the plain model is used.%s score.compile=false "
            "skips the attempt",
            problem,
            remedy,
        )
        return f"not compiled: {problem}"
    found = "used" if ratio <= worth else "not used"
    if ratio > worth:
        remember(engine, ratio)
    taken = time.perf_counter() - begin
    line = (
        f"compiled code {found}: it needs {ratio:.2f} of the plain model's time ({taken:.0f} s to "
        "measure)"
    )
    log.info(line)
    return line


def _compared(engine: Engine, few: TokenSequences) -> tuple[float, bool]:
    """Time of the compiled code as a share of the plain model's, and whether scores are equal."""
    sequences = _filling(engine, few)
    compiled = compile_by_layer(engine.model)
    engine.compiled = compiled
    lengths = sequences.tokens.lengths
    batches = np.array([[0, 0], [lengths.argmin(), lengths.argmax()]])  # without and with a mask
    for threads in engine.compiled_threads:
        with torch_threads(threads):  # the number is compiled in
            for rows in batches:
                engine.one_batch(sequences, rows)
    engine.compute(sequences)
    ratios, same = [], True
    for _ in range(_ROUNDS):
        fast, found = _timed(engine, sequences)
        engine.compiled = None
        plain, expected = _timed(engine, sequences)
        engine.compiled = compiled
        ratios.append(fast / plain)
        same &= _close(found, expected, engine)
    return median(ratios), same or _as_exact(found, expected, engine, few)


def compile_by_layer(model: torch.nn.Module) -> torch.nn.Module:
    """A model with the same weights, whose layers are compiled; all layers of a class share one
    compiled forward, so that the number of layers does not matter.
    """
    shared: dict[int, Any] = {id(part): part for part in (*model.parameters(), *model.buffers())}
    found = copy.deepcopy(model, shared)
    for number, layer in enumerate(stacked_layers(found)):
        compiled = torch.compile(type(layer).forward, dynamic=True)
        layer.forward = partial(_layer_forward, compiled, layer, number)
    return found


def _layer_forward(
    compiled: Callable[..., Any], layer: torch.nn.Module, number: int, *states: Any, **how: Any
) -> Any:
    """Call with the prefixes of this layer alone: its number would be compiled in."""
    prefixes = how.get("past_key_values")
    if prefixes is not None:
        how["past_key_values"] = prefixes.of_layer(number)
    return compiled(layer, *states, **how)


def _timed(engine: Engine, sequences: TokenSequences) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    values = engine.compute(sequences).values
    return time.perf_counter() - start, values


def _close(found: np.ndarray, expected: np.ndarray, engine: Engine) -> bool:
    tolerance = (_SAME_IN_HALF if is_half(engine.model) else _SAME) * float(np.ptp(expected))
    return bool((np.abs(found - expected) <= tolerance).all())


def _as_exact(found: np.ndarray, expected: np.ndarray, engine: Engine, few: TokenSequences) -> bool:
    """Whether the found scores in half precision are as close to float32 as the expected ones.

    Models with many layers may round to visibly different scores in half precision.
    """
    if not is_half(engine.model):
        return False
    with in_float32(engine.model):
        each = np.array([engine.alone(few, row) for row in range(len(few))])
    exact = np.tile(each, (len(found) // len(few), *[1] * (found.ndim - 1)))
    apart, usual = (float(np.abs(scores - exact).max()) for scores in (found, expected))
    return apart <= _AS_FAR * usual <= _AS_FAR * _FAR * float(np.ptp(exact))


def _filling(engine: Engine, sequences: TokenSequences) -> TokenSequences:
    """The sequences, repeated until each stream has two batches."""
    wanted = 2 * engine.streams * engine.shapes.max_tokens
    times = -(-wanted // int(sequences.tokens.lengths.sum()))
    rows: Int64s = np.tile(np.arange(len(sequences)), times)
    tokens = take(sequences.tokens, rows, sequences.tokens.lengths[rows])
    return TokenSequences.one_each(tokens, sequences.passage_starts[rows])
