"""Ranking measures for queries that have one relevant document each.

All take ``ranks``, shape (queries,), int: the 1-based place of the relevant document, or 0
where it is not among the candidates. Such a query counts as a miss, never as absent.
"""

import numpy as np


def relevant_ranks(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Ranks from candidate scores and a mask of the relevant one, both (queries, candidates).

    Candidates with equal scores keep the order in which they came.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    in_order = np.take_along_axis(relevant, order, axis=1)
    return np.where(in_order.any(axis=1), in_order.argmax(axis=1) + 1, 0)


def ndcg_at(ranks: np.ndarray, k: int = 10) -> float:
    """Mean nDCG@k: with one relevant document the ideal DCG is 1."""
    found = (ranks > 0) & (ranks <= k)
    return float(np.where(found, 1.0 / np.log2(np.maximum(ranks, 1) + 1.0), 0.0).mean())


def mrr_at(ranks: np.ndarray, k: int = 10) -> float:
    """Mean reciprocal rank, 0 below place k."""
    found = (ranks > 0) & (ranks <= k)
    return float(np.where(found, 1.0 / np.maximum(ranks, 1), 0.0).mean())


def recall_at(ranks: np.ndarray, k: int = 50) -> float:
    """Share of the queries whose relevant document is among the first k."""
    return float(((ranks > 0) & (ranks <= k)).mean())
