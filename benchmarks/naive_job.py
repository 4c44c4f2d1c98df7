"""What everyone writes once: Ray Data, a CrossEncoder in an actor, and no more.

    python -m benchmarks.naive_job INPUT OUTPUT MODEL

A peer of `benchmarks.whole_job`, which runs it. It checks nothing, and cannot resume.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import ray

MAX_LENGTH = 512


class Reranker:
    """One loaded model."""

    def __init__(self, model: str) -> None:
        import torch
        from sentence_transformers import CrossEncoder

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self._identity = torch.nn.Identity()
        self._model = CrossEncoder(model, device="cpu", max_length=MAX_LENGTH)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Add the scores of a batch."""
        pairs = list(zip(batch["query"], batch["passage"], strict=True))
        scores = self._model.predict(pairs, activation_fn=self._identity, show_progress_bar=False)
        return {**batch, "score": scores}


def main() -> None:
    """Read, score, write."""
    source, target, model = sys.argv[1:]
    ray.init(address="local", log_to_driver=False)
    rows = ray.data.read_parquet(source)
    scored = rows.map_batches(
        Reranker, fn_constructor_args=[model], batch_size=1024, concurrency=1, num_cpus=1
    )
    scored.write_parquet(target)


if __name__ == "__main__":
    main()
