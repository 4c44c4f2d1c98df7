"""A sample of the input: some queries, each with some of its passages."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from reranker_core.config import Config
from reranker_core.input.pairs import find_pairs
from reranker_core.input.plan import Part, make_plan
from reranker_core.input.reading import read_parts

_PARTS = 4


def sample_queries(config: Config, queries: int, passages: int) -> list[tuple[str, list[str]]]:
    """At most so many queries from `input.path`, each with at most so many different passages, in
    the order of the input. Blank texts are left out. The same input gives the same sample.

    Raises:
        InputError: the input cannot be read, or its columns do not fit.

    """
    plan = make_plan(config)
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for part in _spread(plan.parts):
        for _, table in read_parts([part], plan.schema.columns):
            pairs = find_pairs(table, plan.schema)
            for query, passage in zip(pairs.query_of, pairs.passage_of, strict=True):
                texts = pairs.queries[query], pairs.passages[passage]
                if texts[0].strip() and texts[1].strip():
                    found[texts[0]][texts[1]] = None
    chosen = sorted(found, key=_hash)[:queries]
    return [(query, [*found[query]][:passages]) for query in chosen]


def _spread(parts: Sequence[Part]) -> list[Part]:
    """A few parts from the beginning to the end."""
    step = max(1, len(parts) // _PARTS)
    return list(parts[::step])[:_PARTS]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
