"""The forward on a GPU, without Ray: right first, then fast.

    python -m benchmarks.gpu [--shapes bert-base xlm-r-large gemma-2b] [--out FILE]

Random weights in the shapes of well-known rerankers, random ids in natural lengths. First the
device's float32 is held against the CPU's, and its half precision against its float32. Then the
engine takes turns with batches as the peers form them, and with bare matrix products.
`--tiny --device cpu` runs all of it in seconds, on nothing that matters.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.environment import describe
from benchmarks.rates import MatrixProducts, timed, useful_flops
from benchmarks.shapes import LONGEST, SHAPES, TINY, Shape, natural_sequences, scoring_model
from reranker_core.config import ScoreConfig
from reranker_core.device import DTYPES
from reranker_core.encode.sequences import TokenSequences
from reranker_core.models.families import FAMILIES
from reranker_core.score.batching import Shapes, make_batch
from reranker_core.score.compiling import compile_if_faster
from reranker_core.score.engine import Engine

PEER_ROWS = 32  # the batch size that sentence-transformers has by default
EXACT = 2e-3  # device float32 against CPU float32, of 1 + |score|; a GPU may multiply in TF32
HALF = 0.1


def main() -> None:
    """Measure each shape, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--dtype", default="bfloat16", choices=list(DTYPES))
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--sequences", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-batch-tokens", type=int)
    parser.add_argument("--compile", action="store_true", help="also measure compiled code")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    shapes = TINY if options.tiny else {name: SHAPES[name] for name in options.shapes}
    score = ScoreConfig(max_batch_tokens=options.max_batch_tokens, compile=options.compile)
    found = {
        name: measure(
            shape, options.device, options.dtype, options.sequences, options.rounds, score
        )
        for name, shape in shapes.items()
    }
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    result = {
        "benchmark": "gpu",
        "device": name,
        "dtype": options.dtype,
        "shapes": found,
        **describe(),
    }
    table = Table("", "tokens/s", "of matrix rate", "faster than peer batches", title=name)
    for shape, one in found.items():
        share, ratio = f"{one['share_of_ceiling']:.1%}", f"{one['faster_than_peer']} x"
        table.add_row(shape, f"{one['tokens_per_second']:,}", share, ratio)
    Console().print(table)
    print(json.dumps(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(
    shape: Shape, device: str, dtype: str, count: int, rounds: int, score: ScoreConfig
) -> dict[str, Any]:
    """Differences, rates and shares of one shape.

    Raises:
        SystemExit: the device computes something else than the CPU.

    """
    torch.manual_seed(0)
    whole = shape.make().eval()
    config = whole.config
    family = FAMILIES[shape.family]
    model = scoring_model(whole, shape.family)
    shapes = Shapes.of(device, LONGEST, score, model)
    few = natural_sequences(16, config.vocab_size)
    on_cpu = Engine(model, family, 0, shapes).compute(few).values
    exact = _apart(on_cpu, Engine(model.to(device), family, 0, shapes).compute(few).values)
    del model  # the memory is the next one's
    whole.to("cpu", DTYPES[dtype])
    engine = Engine(scoring_model(whole, shape.family).to(device), family, 0, shapes)
    compiled = ""
    if score.compile is True:
        compiled = compile_if_faster(engine, few)
    half = _apart(on_cpu, engine.compute(few).values)
    if exact > EXACT or half > HALF:
        raise SystemExit(f"{device} differs from the CPU: float32 {exact:.2g}, {dtype} {half:.2g}")

    sequences = natural_sequences(count, config.vocab_size)
    computed = engine.compute(sequences)  # all shapes once: kernels are chosen, memory is there
    flops = useful_flops(config, sequences.tokens.lengths)
    products = MatrixProducts(config, 8192, DTYPES[dtype], device)
    times = max(1, int(flops / 4 / products.flops))
    products.run(times)
    ours, peers, ceiling = [], [], []
    for _ in range(rounds):
        ours.append(timed(engine.compute, sequences).wall)
        peers.append(timed(_as_peers, whole.to(device), sequences, shape.family, device).wall)
        ceiling.append(products.flops * times / timed(products.run, times).wall)
    tokens = int(sequences.tokens.lengths.sum())
    return {
        "sequences": count,
        "tokens_a_sequence": round(tokens / count, 1),
        "difference_float32": exact,
        f"difference_{dtype}": half,
        "compiled": compiled,
        "padding": round(1 - tokens / computed.tokens, 4),
        "tokens_per_second": round(tokens / median(ours)),
        "tflops": round(flops / median(ours) / 1e12, 3),
        "ceiling_tflops": round(median(ceiling) / 1e12, 3),
        "share_of_ceiling": round(flops / median(ours) / median(ceiling), 3),
        "faster_than_peer": round(median(peers) / median(ours), 2),
    }


@torch.inference_mode()
def _as_peers(whole: Any, sequences: TokenSequences, family: str, device: str) -> None:
    """Sorted batches of 32, each waited for; all logits of language models. No tokenizing."""
    order = np.argsort(-sequences.tokens.lengths, kind="stable")
    for begin in range(0, len(order), PEER_ROWS):
        rows = order[begin : begin + PEER_ROWS]
        width = int(sequences.tokens.lengths[rows].max())
        batch = make_batch(sequences, rows, width, 0, torch.device(device))
        logits = whole(input_ids=batch.ids, attention_mask=batch.mask).logits
        last = batch.mask.sum(1) - 1
        found = logits[torch.arange(len(rows)), last, 5] if family == "llm" else logits[:, 0]
        found.float().cpu()


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float((np.abs(one - other) / (1 + np.abs(one))).max())


if __name__ == "__main__":
    main()
