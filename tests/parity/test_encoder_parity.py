"""Encoder rerankers score as FlagEmbedding and sentence-transformers do, and as float64 says."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from FlagEmbedding import FlagReranker
from FlagEmbedding.utils.tokenizer_compat import prepare_for_model_compat
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.checkpoints import LONGEST
from tests.parity.common import Pair, assert_same, encode, load, sample_pairs, words

# max_length and query_max_length; None is three quarters of max_length. FlagReranker needs some
# room beside the query: tokenized again, a query cut within a word may become longer.
LONG = 700
LENGTHS = [(LONGEST, None), (64, 40), (33, None), (16, 5)]


@pytest.fixture(scope="module", params=["bert", "xlm_roberta", "modernbert"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture(
    scope="module", params=["bert", "xlm_roberta", "modernbert", "distilbert", "electra", "deberta"]
)
def any_folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module", params=["bert", "xlm_roberta", "deberta"])
def folder_without_local_attention(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("max_length", "query_max_length"), LENGTHS)
def test_scores_equal_a_float64_forward_on_ids_joined_by_hand(
    any_folder: Path, max_length: int, query_max_length: int | None
):
    pairs = sample_pairs(max_length, query_max_length)
    expected = oracle(any_folder).scores(pairs, max_length, query_max_length)
    scores = load(any_folder, max_length, query_max_length).score_pairs(pairs)
    assert_same(scores, expected)


@pytest.mark.parametrize(("max_length", "query_max_length"), LENGTHS)
def test_scores_equal_flag_reranker_where_it_keeps_the_ids(
    folder: Path, max_length: int, query_max_length: int | None
):
    pairs = sample_pairs(max_length, query_max_length)
    # On transformers 5 FlagReranker decodes ids and tokenizes the text again, which may give
    # other ids: after a cut within a word, around characters that are not in the vocabulary.
    kept = [
        flag_reranker_ids(folder, pair, max_length, query_max_length)
        == oracle(folder).join(pair, max_length, query_max_length).ids
        for pair in pairs
    ]
    assert np.mean(kept) >= 0.8, f"{kept.count(False)} of {len(pairs)} pairs cannot be compared"

    comparable = [pair for pair, is_kept in zip(pairs, kept, strict=True) if is_kept]
    expected = flag_reranker(folder).compute_score(
        comparable, max_length=max_length, query_max_length=query_max_length
    )
    scores = load(folder, max_length, query_max_length).score_pairs(comparable)
    assert_same(scores, expected)


@pytest.mark.parametrize("max_length", [LONGEST, 33, 16])
def test_longest_first_scores_equal_cross_encoder(
    folder_without_local_attention: Path, max_length: int
):
    folder = folder_without_local_attention
    pairs = sample_pairs(max_length, None)
    reference = CrossEncoder(
        str(folder), device="cpu", max_length=max_length, activation_fn=torch.nn.Identity()
    )
    expected = reference.predict(pairs, show_progress_bar=False)
    scorer = load(folder, max_length, None, "model.truncation=longest_first")
    assert_same(scorer.score_pairs(pairs), expected)


def test_deberta_scores_pairs_beyond_the_length_in_its_config(deberta: Path):
    pairs = long_pairs()
    scorer = load(deberta, LONG, None)
    lengths = [len(ids) for ids in encode(scorer, pairs)]
    assert sum(length > 512 for length in lengths) == 4
    assert max(lengths) == LONG
    assert_same(scorer.score_pairs(pairs), oracle(deberta).scores(pairs, LONG, None))


def long_pairs() -> list[Pair]:
    """Pairs around 512 ids, and up to more than `LONG`."""
    rng = random.Random(4)
    return [(words(9, rng), words(size, rng)) for size in (1, 99, 480, 520, 600, 690, 900)]


@pytest.mark.parametrize("max_length", [LONGEST, 33, 16])
def test_longest_first_ids_equal_the_tokenizers_own(folder: Path, max_length: int):
    middle = max_length // 2
    sizes = [0, 1, *range(middle - 4, middle + 2), *range(max_length - 5, max_length + 3)]
    sizes += [2 * max_length, 3 * max_length]
    rng = random.Random(3)
    texts = [words(size, rng) for size in sizes]
    pairs = [(query, passage) for query in texts for passage in texts]
    expected = tokenizer(folder)(pairs, truncation="longest_first", max_length=max_length)
    found = encode(load(folder, max_length, None, "model.truncation=longest_first"), pairs)
    wrong = [
        (len(query.split()), len(passage.split()))
        for (query, passage), a, b in zip(pairs, found, expected["input_ids"], strict=True)
        if a != b
    ]
    assert not wrong, f"{len(wrong)} of {len(pairs)} differ; lengths in tokens: {wrong[:10]}"


@pytest.mark.parametrize("max_batch_tokens", [300, 16_384])
def test_a_pair_scores_the_same_wherever_it_stands(folder: Path, max_batch_tokens: int):
    pair, *others = sample_pairs(LONGEST, None)[:40]
    scorer = load(folder, LONGEST, None, f"score.max_batch_tokens={max_batch_tokens}")
    alone = load(folder, LONGEST, None).score_pairs([pair])
    first = scorer.score_pairs([pair, *others])
    last = scorer.score_pairs([*others, pair])
    assert_same([first[0], last[-1]], [alone[0], alone[0]], spread=first.std())


def test_batch_size_does_not_change_scores(folder: Path):
    pairs = sample_pairs(LONGEST, None)[:40]
    together = load(folder, LONGEST, None).score_pairs(pairs)
    apart = load(folder, LONGEST, None, "score.max_batch_tokens=8").score_pairs(pairs)
    assert_same(apart, together)


def test_equal_pairs_have_equal_scores(folder: Path):
    pairs = sample_pairs(64, None)
    scores = load(folder, 64, None).score_pairs(pairs + pairs)
    assert_same(scores[: len(pairs)], scores[len(pairs) :])


def test_bfloat16_is_close_to_float32(folder: Path):
    pairs = sample_pairs(LONGEST, None)
    full = load(folder, LONGEST, None).score_pairs(pairs)
    half = load(folder, LONGEST, None, "model.dtype=bfloat16").score_pairs(pairs)
    assert np.abs(half - full).max() < 0.15
    assert np.corrcoef(half, full)[0, 1] > 0.99


def test_bfloat16_scores_keep_the_digits_of_float32(folder: Path):
    pairs = sample_pairs(LONGEST, None)
    scores = load(folder, LONGEST, None, "model.dtype=bfloat16").score_pairs(pairs)
    rounded = torch.from_numpy(scores).bfloat16().float().numpy()
    assert np.mean(scores == rounded) < 0.1


class Joined(NamedTuple):
    ids: list[int]
    token_types: list[int]


class Oracle:
    """The model in float64, without padding, on ids joined by hand."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(folder).double().eval()

    def join(self, pair: Pair, max_length: int, query_max_length: int | None) -> Joined:
        begin, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        between = [end, end] if self.model.config.model_type == "xlm-roberta" else [end]
        query, passage = (self.tokenizer(t, add_special_tokens=False)["input_ids"] for t in pair)
        first = [begin, *query[: query_max_length or max_length * 3 // 4], *between]
        second = [*passage[: max_length - len(first) - 1], end]
        return Joined(first + second, [0] * len(first) + [1] * len(second))

    def scores(
        self, pairs: list[Pair], max_length: int, query_max_length: int | None
    ) -> np.ndarray:
        joined = [self.join(pair, max_length, query_max_length) for pair in pairs]
        lengths = np.array([len(one.ids) for one in joined])
        scores = np.empty(len(pairs))
        for length in set(lengths):
            rows = np.flatnonzero(lengths == length)
            inputs = {"input_ids": torch.tensor([joined[row].ids for row in rows])}
            if "token_type_ids" in self.tokenizer.model_input_names:
                inputs["token_type_ids"] = torch.tensor([joined[row].token_types for row in rows])
            with torch.inference_mode():
                scores[rows] = self.model(**inputs).logits[:, 0].numpy()
        return scores


@cache
def oracle(folder: Path) -> Oracle:
    return Oracle(folder)


@cache
def flag_reranker(folder: Path) -> FlagReranker:
    return FlagReranker(str(folder), use_fp16=False, devices="cpu")


@cache
def tokenizer(folder: Path) -> AutoTokenizer:
    return AutoTokenizer.from_pretrained(folder)


def flag_reranker_ids(
    folder: Path, pair: Pair, max_length: int, query_max_length: int | None
) -> list[int]:
    """What FlagReranker makes of a pair."""
    query, passage = (
        tokenizer(folder)(text, add_special_tokens=False, truncation=True, max_length=limit)
        for text, limit in zip(
            pair, (query_max_length or max_length * 3 // 4, max_length), strict=True
        )
    )
    return prepare_for_model_compat(
        tokenizer(folder),
        query["input_ids"],
        passage["input_ids"],
        truncation="only_second",
        max_length=max_length,
    )["input_ids"]
