"""What a core does in a second around a scorer that costs nothing: read, encode, pack, commit.

    python -m benchmarks.stages [--pairs 10000] [--out FILE]

No Ray and no model: the stages' own functions on one core, in processor seconds. They say how many
CPU cores a replica of a given rate needs beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.environment import describe
from benchmarks.pairs import CANDIDATES
from benchmarks.random_checkpoints import random_head
from benchmarks.rates import timed
from demo.corpus import HELD_OUT, first_stage, read_docs, sample_queries, write_shards
from reranker_core.config import load_config
from reranker_core.encode.part import encode_part
from reranker_core.input.plan import make_plan, read_groups
from reranker_core.input.reading import read_parts
from reranker_core.models import encoder
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.scores import Scores
from reranker_core.output.commit import commit
from reranker_core.output.results import ScoredPart
from reranker_core.pipeline import wire
from reranker_core.storage.store import Store


def main() -> None:
    """Measure stage by stage, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # as in the job
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = random_head(folder / "model")
        docs = read_docs(HELD_OUT)
        queries = sample_queries(docs, options.pairs // CANDIDATES)
        write_shards(docs, queries, first_stage(docs, queries, CANDIDATES), folder / "in", shards=1)
        pairs, seconds = measure(folder, model)
    rates = {stage: round(pairs / taken) for stage, taken in seconds.items()}
    rates["all"] = round(pairs / sum(seconds.values()))
    result = {
        "benchmark": "stages",
        "pairs": pairs,
        "pairs_per_processor_second": rates,
        "load": round(os.getloadavg()[0], 1),
        **describe(),
    }
    table = Table("stage", "pairs per CPU second")
    for stage, rate in rates.items():
        table.add_row(stage, f"{rate:,}")
    Console().print(table)
    print(json.dumps(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(folder: Path, model: Path) -> tuple[int, dict[str, float]]:
    """Pairs, and processor seconds of each stage."""
    paths = (f"input.path={folder}/in", f"output.path={folder}/out", f"model.path={model}")
    config = load_config(None, [*paths, "plan.part_rows=2500"])
    plan = make_plan(config)
    pair_format = encoder.pair_format(open_checkpoint(config.model), config.model)
    store = Store(config.output.path)
    seconds: Counter[str] = Counter()

    def take(stage: str, work: Callable[..., Any], *values: Any) -> Any:
        run = timed(work, *values)
        seconds[stage] += run.processor
        return run.value

    pairs = 0
    for group in read_groups(plan.parts, plan):
        for part, rows in take("read", lambda g: list(read_parts(g, plan.schema.columns)), group):
            encoded = take("encode", encode_part, rows, plan.schema, pair_format, config)
            carried = take("carry", _there_and_back, part, encoded)
            scores = Scores(np.zeros(len(carried.sequences), np.float32), 0)
            scored = ScoredPart.of(carried, scores, config.model)
            measures = {"distinct": 0, "tokens": 0, "computed_tokens": 0}
            measures |= {"seconds": 0.0, "waited": 0.0, "special_tokens_in_text": 0}
            output = config.output
            take("commit", commit, store, part, scored, plan.schema, output, measures, "bench")
            pairs += len(scored.status)
    return pairs, dict(seconds)


def _there_and_back(part: Any, encoded: Any) -> Any:
    """Into a row of a Ray block, and out of it."""
    block = wire.row_of_encoded(part, encoded)
    return wire.encoded_of_row(next(wire.rows(block)))[1]


if __name__ == "__main__":
    main()
