"""Pairs that are hard to get right, and what the parity tests do with them."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import numpy as np

from reranker_core.config import load_config
from reranker_core.device import DTYPES
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.families import FAMILIES, recognise
from reranker_core.score.batching import Shapes
from reranker_core.score.engine import Engine
from reranker_core.score.scorer import Scorer
from tests.checkpoints import TEXTS

Pair = tuple[str, str]

TOLERANCE = 1e-5


def sample_pairs(max_length: int, query_max_length: int | None) -> list[Pair]:
    """Ragged, over-long, empty, equal and multilingual pairs, and some at the edge of a cut."""
    rng = random.Random(5)
    vocabulary = " ".join(TEXTS).split()
    ragged = [
        (
            " ".join(rng.choices(vocabulary, k=rng.randrange(1, 12))),
            " ".join(rng.choices(vocabulary, k=rng.randrange(1, 30))),
        )
        for _ in range(20)
    ]
    natural = [(rng.choice(TEXTS), passage) for passage in TEXTS]
    long = [
        (" ".join(rng.choices(vocabulary, k=200)), TEXTS[0]),
        (TEXTS[0], " ".join(rng.choices(vocabulary, k=200))),
        (" ".join(rng.choices(vocabulary, k=100)), " ".join(rng.choices(vocabulary, k=300))),
        (" ".join(rng.choices(vocabulary, k=300)), " ".join(rng.choices(vocabulary, k=100))),
    ]
    odd = [
        ("", ""),
        ("", TEXTS[1]),
        (TEXTS[1], ""),
        ("  \n\t", TEXTS[2]),
        ("a", "a"),
        ("ⵣ ☃", "⚙ is not in the vocabulary"),
        ("a special [SEP] </s> in the text", "and <s> [CLS] <pad> [PAD] here"),
    ]
    query_limit = query_max_length or max_length * 3 // 4
    edges = []
    for query_size in (1, 4, query_limit - 1, query_limit, query_limit + 1, 2 * query_limit):
        left = max_length - min(query_size, query_limit)
        # 3 or 4 special tokens, so that the passage just fits, or is cut by one token.
        edges += [(words(query_size, rng), words(left - less, rng)) for less in range(1, 6)]
    return [*ragged, *natural, *long, *odd, *edges, *natural[:5]]


def words(count: int, rng: random.Random) -> str:
    """A text of `count` tokens for each of the tokenizers here."""
    return " ".join(rng.choices("ab", k=max(count, 0)))


@cache
def load(
    folder: Path, max_length: int | None, query_max_length: int | None, *overrides: str
) -> Scorer:
    """A scorer without preflight, which random weights cannot pass and which takes its time. It
    computes in float32 on the CPU unless `overrides` say otherwise.
    """
    config = load_config(
        None,
        [
            "input.path=none",
            "output.path=none",
            f"model.path={folder}",
            f"model.max_length={max_length or 'null'}",
            f"model.query_max_length={query_max_length or 'null'}",
            "model.dtype=float32",
            "model.device=cpu",
            *overrides,
        ],
    )
    checkpoint = open_checkpoint(config.model)
    family = FAMILIES[recognise(checkpoint, config.model.family)]
    pair_format = family.pair_format(checkpoint, config.model)
    dtype, device = config.model.dtype, config.model.device
    model = family.load(checkpoint, config.model, DTYPES[dtype], device).model
    shapes = Shapes.of(device, pair_format.max_length, config.score, model)
    pad_id = int(pair_format.tokenizer.pad_id or 0)
    engine = Engine(model, family, pad_id, shapes, config.score.share_prefixes)
    return Scorer(engine, pair_format, dtype)


def encode(scorer: Scorer, pairs: list[Pair]) -> list[list[int]]:
    """The ids of each pair."""
    index = np.arange(len(pairs))
    queries, passages = map(list, zip(*pairs, strict=True))
    tokens = scorer.pair_format.encode(queries, passages, index, index).tokens
    return [ids.tolist() for ids in np.split(tokens.values, np.cumsum(tokens.lengths)[:-1])]


def assert_same(scores: object, expected: object, spread: float | None = None) -> None:
    scores, expected = np.asarray(scores), np.asarray(expected)
    assert scores.shape == expected.shape
    assert np.isfinite(expected).all()
    assert np.ptp(expected) > 0 or len(expected) < 3  # equal scores would prove nothing
    spread = expected.std() if spread is None else spread
    # Relative to a score, or to how far scores lie apart where one happens to be close to zero.
    np.testing.assert_allclose(scores, expected, rtol=TOLERANCE, atol=TOLERANCE * spread)


def deviation(scores: object, expected: object) -> float:
    """The largest difference, relative to the score or to the scores' spread if that is larger; of
    several scores a pair, each of them by itself.
    """
    scores, expected = np.asarray(scores, np.float64), np.asarray(expected, np.float64)
    return float(
        (np.abs(scores - expected) / np.maximum(np.abs(expected), expected.std(axis=0))).max()
    )


def assert_same_by_layer(scores: np.ndarray, expected: np.ndarray) -> None:
    """`expected` has a column a layer; scores of a single layer have none."""
    assert scores.ndim == (1 if expected.shape[1] == 1 else 2)
    for found, column in zip(scores.reshape(len(scores), -1).T, expected.T, strict=True):
        assert_same(found, column)
