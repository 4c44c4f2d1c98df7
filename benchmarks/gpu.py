"""The scorer on a GPU, without Ray and without a hub: right first, then fast.

    python -m benchmarks.gpu [--shapes bert-base xlm-r-large gemma-2b qwen3-0.6b] [--out FILE]

Checkpoints in the shapes of well-known rerankers are made on the spot, with random weights, and
pairs of random words in natural lengths, 50 candidates a query. The scorer must give the scores of
float32 on the CPU. Then it takes turns with sentence-transformers and FlagEmbedding, which have the
same number format and several batch sizes, and with bare matrix products. Their time includes
tokenizing; for this project there are both figures, because in a job the read tasks tokenize.
`--tiny --device cpu` runs all of it in seconds, on nothing that matters.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.contestants import DEFAULT_ROWS, Pairs, Scoring, flag, ours, predict
from benchmarks.environment import describe
from benchmarks.random_checkpoints import save, word_pairs
from benchmarks.rates import MatrixProducts, timed, useful_flops
from benchmarks.shapes import SHAPES, TINY, Shape
from reranker_core.device import DTYPES
from reranker_core.score.scorer import Scorer

EXACT, HALF = 1e-3, 0.1  # of the scores' span: float32 on both devices, half precision to float32
_FEW = 8  # pairs that the CPU scores
_SETTINGS = (
    "preflight.checks.tokenizer=off",  # its vocabulary is smaller than the model's
    "preflight.checks.numerics=warn",  # deep random layers are harder for half precision
)
_SETTINGS_OF = {
    "encoder": ("model.truncation=longest_first",),
    "llm": ("model.template=bge-gemma", "model.query_max_length=384"),
}
# For each family: a name, and how to load it.
PEERS: dict[str, dict[str, Callable[..., Scoring]]] = {
    "encoder": {"sentence-transformers": predict, "FlagReranker": flag},
    "llm": {"FlagLLMReranker": partial(flag, llm=True)},
}
_MANY = 1e9  # pairs: a run so long that compiling pays
_FEWER = 8  # times fewer pairs for language models
_PEER_SHARE = 4  # peers score one pair in four


@dataclass(frozen=True)
class How:
    """What all shapes are measured with: device, number format, rounds, batch sizes of peers,
    settings of ours, and whether scores are compared with the CPU's.
    """

    device: str
    dtype: str
    rounds: int = 3
    peer_rows: Sequence[int] = (DEFAULT_ROWS, 128, 512)
    settings: Sequence[str] = ()
    with_cpu: bool = True

    def ours(self, folder: Path, shape: Shape, dtype: str = "", device: str = "") -> Scorer:
        """The scorer of this project."""
        settings = (*_SETTINGS, *_SETTINGS_OF[shape.family], *self.settings)
        where = device or self.device
        return ours(folder, dtype or self.dtype, *settings, device=where, pairs=_MANY)


def main() -> None:
    """Measure each shape, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--dtype", default="bfloat16", choices=list(DTYPES))
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--pairs", type=int, default=16_384)
    parser.add_argument("--rounds", type=int, default=How.rounds)
    parser.add_argument("--peer-rows", type=int, nargs="*", default=How.peer_rows)
    parser.add_argument("--set", nargs="+", default=[], help="settings, as score.compile=true")
    parser.add_argument("--no-cpu", action="store_true", help="do not compare with the CPU")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    shapes = TINY if options.tiny else {name: SHAPES[name] for name in options.shapes}
    how = How(
        device=options.device,
        dtype=options.dtype,
        rounds=options.rounds,
        peer_rows=options.peer_rows,
        settings=options.set,
        with_cpu=not options.no_cpu,
    )
    name = torch.cuda.get_device_name() if how.device == "cuda" else "cpu"
    result = {"benchmark": "gpu", "device": name, "dtype": how.dtype, **describe()}
    result["shapes"] = found = {}
    table = Table("", "pairs/s", "of matrix rate", "faster than the best peer", title=name)
    for each, shape in shapes.items():
        pairs = word_pairs(options.pairs // (_FEWER if shape.family == "llm" else 1))
        found[each] = one = measure(shape, pairs, how)
        rate, share = f"{one['forward']['pairs_per_second']:,}", f"{one['share_of_ceiling']:.1%}"
        table.add_row(each, rate, share, f"{one.get('faster_than_best_peer', '-')} x")
        print(json.dumps({each: one}), flush=True)
        if options.out:
            options.out.write_text(json.dumps(result, indent=1) + "\n")
    Console().print(table)


def measure(shape: Shape, pairs: Pairs, how: How) -> dict[str, Any]:
    """Differences, rates and shares of one shape.

    Raises:
        SystemExit: the device computes something else than the CPU.

    """
    memory = Path("/dev/shm")  # a checkpoint has gigabytes
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        config = save(shape, folder, DTYPES[how.dtype], how.device)
        found = _differences(folder, shape, pairs[:_FEW], how) if how.with_cpu else {}
        loaded = timed(how.ours, folder, shape)
        scorer, found["load_seconds"] = loaded.value, round(loaded.wall, 1)
        found["compiled"] = scorer.report.compiled
        found |= _rates(scorer, config, pairs, how)
        few = pairs[::_PEER_SHARE]
        mine = timed(scorer.score_pairs, few)
        found["with_tokenizing"] = {"pairs_per_second": round(len(few) / mine.wall)}
        print(json.dumps(found), flush=True)  # peers take much longer
        del scorer, loaded
        found["peers"] = _peers(folder, shape, few, mine.value, how)
    best = max((peer["pairs_per_second"] for peer in found["peers"].values()), default=None)
    for key, ours_ in (("than", "forward"), ("with_tokenizing_than", "with_tokenizing")):
        if best is not None:
            ratio = found[ours_]["pairs_per_second"] / best
            found[f"faster_{key}_best_peer"] = round(ratio, 2)
    return found


def _differences(folder: Path, shape: Shape, pairs: Pairs, how: How) -> dict[str, float]:
    """How far scores lie from those of the CPU in float32, in shares of their span."""
    expected = how.ours(folder, shape, "float32", "cpu").score_pairs(pairs)
    found = {}
    for dtype in dict.fromkeys(("float32", how.dtype)):
        apart = np.abs(how.ours(folder, shape, dtype).score_pairs(pairs) - expected).max()
        found[f"difference_{dtype}"] = float(apart / np.ptp(expected))
        if not found[f"difference_{dtype}"] <= (EXACT if dtype == "float32" else HALF):
            raise SystemExit(f"{how.device} differs from the CPU, in shares of the span: {found}")
    return found


def _rates(scorer: Scorer, config: Any, pairs: Pairs, how: How) -> dict[str, Any]:
    """Of the forward alone, in turn with matrix products."""
    sequences = scorer.encode(pairs)
    flops = useful_flops(config, sequences.tokens.lengths)
    computed = scorer.score(sequences)  # all shapes once: kernels are chosen, memory is there
    products = MatrixProducts(config, 16_384, DTYPES[scorer.dtype], how.device)
    times = max(1, int(flops / 4 / products.flops))
    products.run(times)
    taken, ceiling = [], []
    for _ in range(how.rounds):
        taken.append(timed(scorer.score, sequences).wall)
        ceiling.append(products.flops * times / timed(products.run, times).wall)
    tokens = int(sequences.tokens.lengths.sum())
    return {
        "pairs": len(pairs),
        "tokens_a_pair": round(tokens / len(pairs), 1),
        # Below zero where prefixes are shared: they are computed once.
        "padding": round(1 - tokens / computed.computed_tokens, 4),
        "forward": {
            "pairs_per_second": round(len(pairs) / median(taken)),
            "tokens_per_second": round(tokens / median(taken)),
        },
        "tflops": round(flops / median(taken) / 1e12, 3),
        "ceiling_tflops": round(median(ceiling) / 1e12, 3),
        "share_of_ceiling": round(flops / median(taken) / median(ceiling), 3),
    }


def _peers(
    folder: Path, shape: Shape, pairs: Pairs, scores: np.ndarray, how: How
) -> dict[str, dict[str, float]]:
    """Rates of the peers, and how far their scores are from ours, as a share of the span."""
    found = {}
    for name, load in PEERS[shape.family].items():
        for rows in how.peer_rows:
            score = load(folder, how.dtype, how.device, rows)
            try:
                score(pairs[:rows])
                run = timed(score, pairs)
            except torch.OutOfMemoryError:
                continue
            finally:
                del score
            found[f"{name}, batches of {rows}"] = {
                "pairs_per_second": round(len(pairs) / run.wall),
                "difference": round(float(np.abs(run.value - scores).max() / np.ptp(scores)), 4),
            }
    return found


if __name__ == "__main__":
    main()
