"""What it saves to compute a query's beginning once for all its candidates.

    python -m benchmarks.prefixes [--template qwen3-reranker] [--rounds 6] [--out FILE]

The same pairs with and without, in turns; a round is a query and its fifty candidates. Ratios are
medians over rounds. The shape is that of four layers of Gemma-2B at a quarter of their width.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from benchmarks.environment import describe
from benchmarks.pairs import CANDIDATES, pairs_of_docstrings
from benchmarks.random_checkpoints import small_gemma
from benchmarks.rates import timed
from reranker_core.config import load_config
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer

LAYERS = 4  # what one costs, all cost
SAME = 1e-4
CHAT = ["<|im_start|>", "<|im_end|>", "<think>", "</think>"]  # one token each, as in Qwen


def main() -> None:
    """Measure in turn, compare scores, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--template", default="qwen3-reranker")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    pairs = pairs_of_docstrings(options.rounds * CANDIDATES)
    rounds = [pairs[i : i + CANDIDATES] for i in range(0, len(pairs), CANDIDATES)]
    with tempfile.TemporaryDirectory() as name:
        model = small_gemma(Path(name), LAYERS)
        tokenizer = AutoTokenizer.from_pretrained(model)
        tokenizer.add_special_tokens({"additional_special_tokens": CHAT})
        tokenizer.save_pretrained(model)
        scorers = {share: _scorer(model, options.template, share) for share in (True, False)}
        runs: dict[bool, list[float]] = {True: [], False: []}
        tokens = dict.fromkeys(scorers, 0)
        for index, some in enumerate(rounds):
            scores = {}
            for share in (True, False) if index % 2 else (False, True):
                run = timed(scorers[share].score_texts, some)
                runs[share].append(run.processor)
                scores[share] = run.value.values
                tokens[share] += run.value.computed_tokens
            if (apart := np.abs(scores[True] - scores[False]).max()) > SAME:
                raise SystemExit(f"scores differ by {apart:.2g}")
    ratios = [a / b for a, b in zip(runs[False], runs[True], strict=True)]
    result = {
        "benchmark": "prefixes",
        "template": options.template,
        "dtype": "float32",
        "pairs": len(pairs),
        "threads": torch.get_num_threads(),
        "tokens_a_pair": {str(k): round(v / len(pairs), 1) for k, v in tokens.items()},
        "faster_processor": round(median(ratios), 3),
        **describe(),
    }
    table = Table("template", "tokens per pair", "with shared prefixes", "faster, processor time")
    of = result["tokens_a_pair"]
    table.add_row(
        options.template, str(of["False"]), str(of["True"]), f"{result['faster_processor']} x"
    )
    Console().print(table)
    print(json.dumps(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def _scorer(model: Path, template: str, share: bool) -> Scorer:
    checks = ("tokenizer", "meaning", "prompt")  # random weights, a borrowed tokenizer
    settings = (
        *("input.path=unused", "output.path=unused", f"model.path={model}", "model.dtype=float32"),
        *("model.device=cpu", "model.max_length=512", f"model.template={template}"),
        *(f"preflight.checks.{check}=off" for check in checks),
        f"score.share_prefixes={str(share).lower()}",
    )
    return load_scorer(load_config(None, settings))


if __name__ == "__main__":
    main()
