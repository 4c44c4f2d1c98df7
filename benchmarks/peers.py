"""The bare scorer against its peers: same pairs, weights, lengths and threads.

    python -m benchmarks.peers [--shape minilm] [--dtype auto] [--rounds 8] [--pairs 100]
                               [--out FILE]

The number format is the fastest of this CPU, or as given; peers have it too, where they can, and
sentence-transformers takes part in float32 as well.

All take turns in each of many short rounds, so that other load on the machine meets all alike;
ratios are medians over rounds. Tokenizing is included. Processor time (all threads together) is
given beside wall time: it moves less where the machine is shared.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoConfig

from benchmarks.contestants import SHAPES, Pairs, Scoring, ours
from benchmarks.environment import describe
from benchmarks.rates import MatrixProducts, Timed, timed, useful_flops
from reranker_core.device import DTYPES
from reranker_core.encode.sequences import Int64s
from reranker_core.score.scorer import Scorer

OURS = "this project"
_PRODUCTS = 20
SAME, SAME_IN_HALF = 1e-4, 0.1  # between float32 scores; of others, of their span


def main() -> None:
    """Measure in turn, compare scores, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=list(SHAPES), default="minilm")
    parser.add_argument("--dtype", choices=["auto", *DTYPES], default="auto")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=100, help="pairs per round")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()
    shape = SHAPES[options.shape]
    pairs = shape.pairs(options.rounds * options.pairs)
    # Whole queries in a round would make for equal lengths: every round is a sample of all.
    rounds = [pairs[i :: options.rounds] for i in range(options.rounds)]
    with tempfile.TemporaryDirectory() as name:
        torch.set_num_threads(options.threads)  # our scorer heeds it when it is loaded
        model = shape.make(Path(name))
        scorer = ours(model, options.dtype, *shape.settings)
        peers = shape.peers(model, scorer.dtype)
        contestants: dict[str, Scoring] = {OURS: scorer.score_pairs, **peers}
        torch.set_num_threads(options.threads)  # again: peers may set their own
        result = measure(contestants, scorer, AutoConfig.from_pretrained(name), rounds)
    result |= {
        "shape": options.shape,
        "pairs": len(pairs),
        "rounds": options.rounds,
        "threads": options.threads,
        "load_before": [round(value, 1) for value in load],
        "load_after": [round(value, 1) for value in os.getloadavg()],
        **describe(),
    }
    _print(result)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(
    contestants: dict[str, Scoring], scorer: Scorer, config: Any, rounds: list[Pairs]
) -> dict[str, Any]:
    """Rates, shares of the ceiling, and ratios to the first contestant."""
    products = MatrixProducts(config, 2048, DTYPES[scorer.dtype], "cpu")
    taken: dict[str, list[Timed]] = {name: [] for name in contestants}
    ceiling: list[float] = []
    apart, span = dict.fromkeys(contestants, 0.0), 0.0
    for score in contestants.values():
        score(rounds[0][:32])
    for index, pairs in enumerate(rounds):
        names = list(contestants)
        expected = None
        for name in names[index % len(names) :] + names[: index % len(names)]:
            run = timed(contestants[name], pairs)
            taken[name].append(run)
            expected = run.value if expected is None else expected
            span = max(span, float(np.ptp(expected)))
            apart[name] = max(apart[name], float(np.abs(run.value - expected).max()))
        products_run = timed(products.run, _PRODUCTS)
        ceiling.append(_PRODUCTS * products.flops / products_run.wall)
    if max(apart.values()) > (SAME if scorer.dtype == "float32" else SAME_IN_HALF * span):
        raise SystemExit(f"scores differ: {apart}")
    lengths = [_lengths(scorer, pairs) for pairs in rounds]
    flops = [useful_flops(config, some) for some in lengths]
    return {
        "benchmark": "peers",
        "dtype": scorer.dtype,
        "tokens_a_pair": round(float(np.concatenate(lengths).mean()), 1),
        "ceiling_gflops": round(median(ceiling) / 1e9, 1),
        "contestants": {
            name: {
                "pairs_per_second": round(
                    median(len(p) / run.wall for p, run in zip(rounds, runs, strict=True)), 1
                ),
                "ours_faster_wall": _ratio(runs, taken[OURS], "wall"),
                "ours_faster_processor": _ratio(runs, taken[OURS], "processor"),
                "share_of_ceiling": round(
                    median(
                        useful / run.wall / most
                        for useful, run, most in zip(flops, runs, ceiling, strict=True)
                    ),
                    3,
                ),
                "largest_difference": apart[name],
            }
            for name, runs in taken.items()
        },
    }


def _lengths(scorer: Scorer, pairs: Pairs) -> Int64s:
    queries, passages = map(list, zip(*pairs, strict=True))
    index = np.arange(len(pairs))
    return scorer.pair_format.encode(queries, passages, index, index).tokens.lengths


def _ratio(runs: list[Timed], ours: list[Timed], which: str) -> float:
    ratios = [getattr(a, which) / getattr(b, which) for a, b in zip(runs, ours, strict=True)]
    return round(median(ratios), 3)


def _print(result: dict[str, Any]) -> None:
    table = Table("", "pairs/s", "ours faster, wall", "processor", "of matrix rate")
    for name, found in result["contestants"].items():
        table.add_row(
            name,
            str(found["pairs_per_second"]),
            f"{found['ours_faster_wall']} x",
            f"{found['ours_faster_processor']} x",
            f"{found['share_of_ceiling']:.1%}",
        )
    Console().print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
