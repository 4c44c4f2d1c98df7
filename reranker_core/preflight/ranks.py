"""Whether a number format that rounds much keeps the order that float32 gives the input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reranker_core.checks import Check
from reranker_core.encode.sequences import Int64s, TokenSequences

QUERIES, CANDIDATES = 32, 16  # of a sample, at most
_FEWEST = 100  # sequences, of which a correlation is one of their order
# Of fewer queries, a passage that changes its place by chance would count too much.
_TOP, _QUERIES_FOR_TOP = 10, 16
_CORRELATION, _OVERLAP = 0.995, 0.98


def sample(sequences: TokenSequences) -> list[Int64s]:
    """Sequences to compare, those of a query together; none if there are too few.

    Sequences are of one query if they are equal up to the passage. Queries with more than ten
    candidates are preferred. Queries are spread over the part.
    """
    tokens = sequences.tokens
    groups: dict[bytes, list[int]] = {}
    for row, begin in enumerate(tokens.starts):
        query = tokens.values[begin : begin + sequences.passage_starts[row]].tobytes()
        groups.setdefault(query, []).append(row)
    large = _spread([group for group in groups.values() if len(group) > _TOP], QUERIES)
    if len(large) >= _QUERIES_FOR_TOP:
        return [np.array(group[:CANDIDATES]) for group in large]
    chosen = large or _spread([*groups.values()], QUERIES * CANDIDATES)
    each = max(QUERIES * CANDIDATES // max(len(chosen), 1), 1)
    found = [np.array(group[:each]) for group in chosen]
    return found if sum(map(len, found)) >= _FEWEST else []


def _spread(groups: list[list[int]], most: int) -> list[list[int]]:
    chosen = np.linspace(0, len(groups) - 1, min(most, len(groups))).astype(int)
    return [groups[index] for index in chosen]


def check_ranks(
    values: Sequence[np.ndarray], expected: Sequence[np.ndarray], dtype: str
) -> list[Check]:
    """The scores of a sample, query by query, in `dtype` and in float32."""
    correlation = rank_correlation(np.concatenate(values), np.concatenate(expected))
    found = [
        Check(
            "numerics",
            "ranks_of_the_input",
            correlation >= _CORRELATION,
            f"{dtype} and float32 scores of {sum(map(len, values))} pairs of the input have a rank "
            f"correlation (Spearman) of {correlation:.4f}",
            f"at least {_CORRELATION}",
            _remedy(dtype),
        )
    ]
    long = [pair for pair in zip(values, expected, strict=True) if len(pair[0]) > _TOP]
    if len(long) >= _QUERIES_FOR_TOP:
        overlap = float(np.mean([_overlap(*pair) for pair in long]))
        found.append(
            Check(
                "numerics",
                "top_10_of_the_input",
                overlap >= _OVERLAP,
                f"{dtype} and float32 agree in {overlap:.2%} of the best {_TOP} passages of "
                f"{len(long)} queries of the input",
                f"at least {_OVERLAP:.0%}",
                _remedy(dtype),
            )
        )
    return found


def check_ranks_of_canaries(values: np.ndarray, expected: np.ndarray, dtype: str) -> Check:
    """The scores of canaries in `dtype` and in float32."""
    correlation = rank_correlation(values, expected)
    return Check(
        "numerics",
        "ranks_of_canaries",
        correlation >= _CORRELATION,
        f"{dtype} and float32 scores of {len(values)} canaries have a rank correlation (Spearman) "
        f"of {correlation:.4f}",
        f"at least {_CORRELATION}",
        _remedy(dtype),
    )


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, of scores that are all different."""
    first, second = (np.argsort(np.argsort(values)) for values in (one, other))
    return float(np.corrcoef(first, second)[0, 1])


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    best, expected = (np.argsort(-scores, kind="stable")[:_TOP] for scores in (one, other))
    return len(np.intersect1d(best, expected)) / _TOP


def _remedy(dtype: str) -> str:
    return (
        f"{dtype} is too coarse for this model. Set model.dtype=bfloat16. An output that has "
        "scores keeps its number format, so set another output.path, too."
    )
