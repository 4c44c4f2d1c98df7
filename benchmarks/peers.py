"""The bare scorer against its peers: same pairs, weights, lengths, threads and number format.

    python -m benchmarks.peers [--shape minilm] [--rounds 8] [--pairs 100] [--out FILE]

All take turns in each of many short rounds, so that other load on the machine meets all alike;
ratios are medians over rounds. Tokenizing is included. Processor time (all threads together) is
given beside wall time: it moves less where the machine is shared.

OpenVINO stands in with sentence-transformers' own tokenizing and batching, and its model converted
by `openvino` alone: optimum-intel, which its backend needs, does not go with transformers 5.20.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sentence_transformers import CrossEncoder
from transformers import AutoConfig

from benchmarks.environment import describe
from benchmarks.pairs import pairs_of_docstrings, random_head, small_gemma
from benchmarks.rates import MatrixProducts, Timed, timed, useful_flops
from reranker_core.config import load_config
from reranker_core.scorer import Scorer
from reranker_core.sequences import Int64s

MAX_LENGTH = 512
OURS = "this project"
_PRODUCTS = 20
SAME = 1e-4  # between float32 scores
_LLM_ROWS = 32  # of its default 128, all logits of a long batch would take 17 GB

Pairs = list[tuple[str, str]]
Scoring = Callable[[Pairs], np.ndarray]


def main() -> None:
    """Measure in turn, compare scores, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=list(SHAPES), default="minilm")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=100, help="a round")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()
    pairs = pairs_of_docstrings(options.rounds * options.pairs)
    # Whole queries in a round would make for equal lengths: every round is a sample of all.
    rounds = [pairs[i :: options.rounds] for i in range(options.rounds)]
    with tempfile.TemporaryDirectory() as name:
        torch.set_num_threads(options.threads)  # our scorer heeds it when it is loaded
        shape = SHAPES[options.shape]
        model = shape.make(Path(name))
        scorer = _ours(model, *shape.settings)
        contestants: dict[str, Scoring] = {OURS: scorer.score_pairs, **shape.peers(model)}
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
    products = MatrixProducts(config, 2048, torch.float32, "cpu")
    taken: dict[str, list[Timed]] = {name: [] for name in contestants}
    ceiling: list[float] = []
    apart = dict.fromkeys(contestants, 0.0)
    for score in contestants.values():
        score(rounds[0][:32])
    for index, pairs in enumerate(rounds):
        names = list(contestants)
        expected = None
        for name in names[index % len(names) :] + names[: index % len(names)]:
            run = timed(contestants[name], pairs)
            taken[name].append(run)
            expected = run.value if expected is None else expected
            apart[name] = max(apart[name], float(np.abs(run.value - expected).max()))
        products_run = timed(products.run, _PRODUCTS)
        ceiling.append(_PRODUCTS * products.flops / products_run.wall)
    if max(apart.values()) > SAME:
        raise SystemExit(f"scores differ: {apart}")
    lengths = [_lengths(scorer, pairs) for pairs in rounds]
    flops = [useful_flops(config, some) for some in lengths]
    return {
        "benchmark": "peers",
        "dtype": "float32",
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


def _ours(model: Path, *settings: str) -> Scorer:
    settings = (
        *("input.path=unused", "output.path=unused", f"model.path={model}", "model.dtype=float32"),
        *("model.device=cpu", f"model.max_length={MAX_LENGTH}"),
        *("preflight.checks.meaning=off", *settings),
    )
    return Scorer.load(load_config(None, settings))


def _peers(model: Path) -> dict[str, Scoring]:
    encoder = CrossEncoder(str(model), device="cpu", max_length=MAX_LENGTH)
    found = {"sentence-transformers": _predict(encoder), "FlagReranker": _flag(model)}
    try:
        found["OpenVINO in sentence-transformers"] = _openvino(model)
    except ImportError:
        print("openvino is not installed: left out")
    return found


def _llm_peers(model: Path) -> dict[str, Scoring]:
    from FlagEmbedding import FlagLLMReranker

    reranker = FlagLLMReranker(
        str(model),
        use_fp16=False,
        devices=["cpu"],
        max_length=MAX_LENGTH,
        query_max_length=384,
        batch_size=_LLM_ROWS,
    )
    return {
        "FlagLLMReranker": lambda pairs: np.array(
            reranker.compute_score(list(map(list, pairs))), np.float32
        )
    }


def _predict(encoder: CrossEncoder) -> Scoring:
    identity = torch.nn.Identity()
    return lambda pairs: encoder.predict(pairs, activation_fn=identity, show_progress_bar=False)


def _flag(model: Path) -> Scoring:
    from FlagEmbedding import FlagReranker

    reranker = FlagReranker(
        str(model), use_fp16=False, devices=["cpu"], max_length=MAX_LENGTH, query_max_length=384
    )
    return lambda pairs: np.array(reranker.compute_score(list(map(list, pairs))), np.float32)


def _openvino(model: Path) -> Scoring:
    import openvino

    encoder = CrossEncoder(str(model), device="cpu", max_length=MAX_LENGTH)
    bert = encoder.model.eval()
    names = ("input_ids", "attention_mask", "token_type_ids")
    example = {name: torch.ones((2, 16), dtype=torch.int64) for name in names}
    converted = openvino.convert_model(bert, example_input=example)
    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(converted, "CPU", hints)

    def score(pairs: Pairs) -> np.ndarray:
        order = sorted(range(len(pairs)), key=lambda i: -len(pairs[i][0]) - len(pairs[i][1]))
        scores = np.empty(len(pairs), np.float32)
        for begin in range(0, len(order), 32):
            rows = order[begin : begin + 32]
            inputs = encoder.tokenizer(
                [pairs[i] for i in rows],
                padding=True,
                truncation="longest_first",
                max_length=MAX_LENGTH,
                return_tensors="np",
            )
            scores[rows] = compiled({name: inputs[name] for name in names})[0][:, 0]
        return scores

    return score


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


@dataclass(frozen=True)
class Shape:
    """A kind of model, how this project is to score it, and who else can."""

    make: Callable[[Path], Path]
    settings: tuple[str, ...]
    peers: Callable[[Path], dict[str, Scoring]]


SHAPES = {
    "minilm": Shape(random_head, ("model.truncation=longest_first",), _peers),
    "gemma": Shape(
        small_gemma,
        # The tokenizer is a smaller one than the vocabulary.
        (
            "model.template=bge-gemma",
            "model.query_max_length=384",
            "preflight.checks.tokenizer=off",
        ),
        _llm_peers,
    ),
}

if __name__ == "__main__":
    main()
