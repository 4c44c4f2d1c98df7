"""What is scored in measurements: docstrings, whose lengths are natural."""

from __future__ import annotations

from demo.corpus import HELD_OUT, first_stage, read_docs, sample_queries

CANDIDATES = 50


def pairs_of_docstrings(count: int) -> list[tuple[str, str]]:
    """Queries with their BM25 candidates, query by query."""
    docs = read_docs(HELD_OUT)
    queries = sample_queries(docs, -(-count // CANDIDATES))
    found = first_stage(docs, queries, CANDIDATES).docs
    pairs = [
        (query.query, docs[index].passage)
        for query, row in zip(queries, found, strict=True)
        for index in row
    ]
    return pairs[:count]
