"""The forward on a GPU, without Ray: right first, then fast.

    python -m benchmarks.gpu [--shapes bert-base xlm-r-large gemma-2b] [--out FILE]

Random weights in the shapes of well-known rerankers, random ids in natural lengths. First the
device's float32 is held against the CPU's, and its half precision against its float32. Then the
engine takes turns with batches as the peers form them, and with bare matrix products.
`--tiny --device cpu` runs all of it in seconds, on nothing that matters.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GemmaConfig,
    GemmaForCausalLM,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from benchmarks.environment import describe
from benchmarks.rates import MatrixProducts, timed, useful_flops
from reranker_core.batching import Shapes, make_batch
from reranker_core.config import ScoreConfig
from reranker_core.device import DTYPES
from reranker_core.engine import Engine
from reranker_core.formats.pair_format import Answer
from reranker_core.models import FAMILIES
from reranker_core.models.networks.answer_model import AnswerModel
from reranker_core.models.networks.first_token_layer import read_first_token_only
from reranker_core.sequences import Ragged, TokenSequences

LONGEST = 512
PEER_ROWS = 32  # the batch size that sentence-transformers has by default
EXACT = 2e-3  # device float32 against CPU float32, of 1 + |score|; a GPU may multiply in TF32
HALF = 0.1

_ONE = {"num_labels": 1, "pad_token_id": 0}


@dataclass(frozen=True)
class Shape:
    """A kind of model: how to make one, and which family scores with it."""

    family: str
    make: Callable[[], Any]


SHAPES = {
    "bert-base": Shape("encoder", lambda: BertForSequenceClassification(BertConfig(num_labels=1))),
    "xlm-r-large": Shape(  # bge-reranker-large, and bge-reranker-v2-m3 but for its positions
        "encoder",
        lambda: XLMRobertaForSequenceClassification(
            XLMRobertaConfig(
                vocab_size=250_002,
                hidden_size=1024,
                num_hidden_layers=24,
                num_attention_heads=16,
                intermediate_size=4096,
                max_position_embeddings=LONGEST + 2,
                num_labels=1,
            )
        ),
    ),
    "gemma-2b": Shape(  # bge-reranker-v2-gemma
        "llm",
        lambda: GemmaForCausalLM(
            GemmaConfig(
                hidden_size=2048,
                num_hidden_layers=18,
                num_attention_heads=8,
                num_key_value_heads=1,
                head_dim=256,
                intermediate_size=16_384,
            )
        ),
    ),
}
_SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_SMALL |= {"intermediate_size": 128, "vocab_size": 1000}
TINY = {
    "bert-tiny": Shape(
        "encoder", lambda: BertForSequenceClassification(BertConfig(**_SMALL, **_ONE))
    ),
    "gemma-tiny": Shape(
        "llm",
        lambda: GemmaForCausalLM(GemmaConfig(**_SMALL, num_key_value_heads=1, head_dim=16)),
    ),
}


def main() -> None:
    """Measure each shape, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--dtype", default="bfloat16", choices=list(DTYPES))
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--sequences", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-batch-tokens", type=int)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    shapes = TINY if options.tiny else {name: SHAPES[name] for name in options.shapes}
    score = ScoreConfig(max_batch_tokens=options.max_batch_tokens)
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
    shapes = Shapes.of(device, LONGEST, score)
    family = FAMILIES[shape.family]
    model = _scoring(whole, shape.family)
    few = natural_sequences(16, config.vocab_size)
    on_cpu = Engine(model, family, 0, shapes).compute(few).values
    exact = _apart(on_cpu, Engine(model.to(device), family, 0, shapes).compute(few).values)
    del model  # the memory is the next one's
    whole.to("cpu", DTYPES[dtype])
    engine = Engine(_scoring(whole, shape.family).to(device), family, 0, shapes)
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
        "padding": round(1 - tokens / computed.tokens, 4),
        "tokens_per_second": round(tokens / median(ours)),
        "tflops": round(flops / median(ours) / 1e12, 3),
        "ceiling_tflops": round(median(ceiling) / 1e12, 3),
        "share_of_ceiling": round(flops / median(ours) / median(ceiling), 3),
        "faster_than_peer": round(median(peers) / median(ours), 2),
    }


def natural_sequences(count: int, vocabulary: int) -> TokenSequences:
    """Random ids in lengths as docstring pairs have them: median 120, mean 146."""
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(4.79, 0.62, count).clip(16, LONGEST).astype(np.int64)
    ids = rng.integers(4, vocabulary, int(lengths.sum())).astype(np.int32)
    return TokenSequences.one_each(Ragged(ids, lengths), (lengths // 5).astype(np.int32))


def _scoring(whole: Any, family: str) -> Any:
    """What the engine runs, as the families make it; `whole` stays as it is."""
    model = copy.deepcopy(whole)
    if family == "llm":
        return AnswerModel(model, (Answer("Yes", (5,), 1.0),))
    read_first_token_only(model)
    return model


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
