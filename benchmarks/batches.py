"""Which batches are fastest here, and what padding and reproducible scores cost.

    python -m benchmarks.batches [--shape bert-base] [--dtype float32] [--sequences 100]
                                 [--rounds 3] [--out FILE]

First, exactly: the share of padding among the computed tokens, by rows a part. Then the engine
takes turns with several budgets of tokens a batch, with padded batches, and with the fixed shapes
of `score.reproducible`, on the same random sequences of natural lengths, on a CPU. What is given
is computed tokens a second, padding included: few sequences have more of that than a part has.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.environment import describe
from benchmarks.rates import timed
from benchmarks.shapes import LONGEST, SHAPES, TINY, natural_sequences, scoring_model
from reranker_core.config import ScoreConfig
from reranker_core.device import DTYPES
from reranker_core.encode.sequences import TokenSequences
from reranker_core.models.families import FAMILIES
from reranker_core.models.networks.packing import pack_if_same
from reranker_core.models.reentrancy import is_reentrant
from reranker_core.score.batching import Shapes, plan_batches
from reranker_core.score.engine import Engine
from reranker_core.score.products import pack_where_faster
from reranker_core.score.streams import streams_for

ROWS = (1000, 2048, 8192)


def main() -> None:
    """Count, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", default="bert-base", choices=[*SHAPES, *TINY])
    parser.add_argument("--dtype", default="float32", choices=list(DTYPES))
    parser.add_argument("--sequences", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budgets", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    shape = (SHAPES | TINY)[options.shape]
    whole = shape.make().eval()
    streams = streams_for(options.threads) if is_reentrant(whole) else 1
    family = FAMILIES[shape.family]
    model = scoring_model(whole, shape.family).to(DTYPES[options.dtype])
    pack_if_same(model, family.forward, True)
    default = Shapes.of("cpu", LONGEST, ScoreConfig(), model, options.threads // streams)
    shapes = {
        "default": default,
        "padded": replace(default, packed=False, fill=1),
        "reproducible": Shapes.of("cpu", LONGEST, ScoreConfig(reproducible=True), model),
    }
    budgets = {str(budget): replace(default, max_tokens=budget) for budget in options.budgets}
    models = {"reproducible": copy.deepcopy(model)}
    products = pack_where_faster(model, default.max_tokens, options.threads // streams)
    engines = {
        name: Engine(models.get(name, model), family, 0, chosen, streams=streams)
        for name, chosen in (shapes | budgets).items()
    }
    sequences = natural_sequences(options.sequences, whole.config.vocab_size)
    result = {
        "benchmark": "batches",
        "shape": options.shape,
        "dtype": options.dtype,
        "products": products,
        "threads": options.threads,
        "streams": streams,
        "budgets": {name: chosen.max_tokens for name, chosen in shapes.items()},
        "padding": {str(rows): padding(rows, shapes, whole) for rows in ROWS},
        "sequences": options.sequences,
        "computed_tokens_per_second": measure(engines, sequences, options.rounds),
        **describe(),
    }
    _print(result)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def padding(rows: int, shapes: dict[str, Shapes], model: torch.nn.Module) -> dict[str, float]:
    """The share of padding among the computed tokens, in parts of so many rows. `model` is one that
    does not take packed batches.
    """
    lengths = natural_sequences(2 * max(ROWS), vocabulary=100).tokens.lengths
    parts = np.split(lengths, range(rows, len(lengths), rows))
    on_cuda = {
        "CUDA, padded": Shapes.of("cuda", LONGEST, ScoreConfig(), model),
        "CUDA, reproducible": Shapes.of("cuda", LONGEST, ScoreConfig(reproducible=True), model),
    }
    return {
        name: round(1 - int(lengths.sum()) / sum(_computed(part, chosen) for part in parts), 4)
        for name, chosen in (shapes | on_cuda).items()
    }


def _computed(lengths: np.ndarray, shapes: Shapes) -> int:
    batches = plan_batches(lengths, shapes)
    return sum(shapes.computed(lengths[rows], width) for rows, width in batches)


def measure(engines: dict[str, Engine], sequences: TokenSequences, rounds: int) -> dict[str, int]:
    """Computed tokens/s of each engine, medians over rounds."""
    next(iter(engines.values())).compute(sequences)  # memory is there, and kernels are chosen
    rates: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            run = timed(engine.compute, sequences)
            rates[name].append(run.value.tokens / run.wall)
    return {name: round(median(found)) for name, found in rates.items()}


def _print(result: dict[str, Any]) -> None:
    padded = Table("rows per part", *result["padding"][str(ROWS[0])], title="padding")
    for rows, shares in result["padding"].items():
        padded.add_row(rows, *(f"{share:.1%}" for share in shares.values()))
    title = f"{result['shape']}, {result['dtype']}"
    rates = Table("tokens per batch", "computed tokens/s", title=title)
    for name, rate in result["computed_tokens_per_second"].items():
        rates.add_row(name, f"{rate:,}")
    Console().print(padded, rates)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
