"""Random multilingual pairs for whole runs."""

import numpy as np
import pyarrow as pa

WORDS = [
    "read",
    "the",
    "file",
    "and",
    "return",
    "a",
    "value",
    "list",
    "of",
    "index",
    "rows",
    "model",
    "cache",
    "sort",
    "path",
    "error",
    "Straße",
    "数据",
    "قراءة",
    "डेटा",
    "🙂",
    "number",
]


def text(rng, most):
    return " ".join(rng.choice(WORDS, rng.integers(1, most)))


def flat_table(rows, seed):
    """Seven candidates a query; columns out of order and of several types."""
    rng = np.random.default_rng(seed)
    query = [text(rng, 8) for _ in range(rows // 7 + 1)]
    return pa.table(
        {
            "bm25": rng.random(rows, np.float32),
            "passage": [text(rng, 60) for _ in range(rows)],
            "doc_id": pa.array([f"d{seed}-{i}" for i in range(rows)]).dictionary_encode(),
            "query_id": pa.array([seed * 10_000 + i // 7 for i in range(rows)]),
            "query": pa.array([query[i // 7] for i in range(rows)], pa.large_string()),
            "when": pa.array([i * 1000 for i in range(rows)], pa.timestamp("us")),
        }
    )
