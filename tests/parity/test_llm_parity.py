"""Language-model rerankers score as their authors' code does, and as float64 says."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from tests.decoder_checkpoints import LONGEST
from tests.parity import oracles
from tests.parity.common import TOLERANCE, assert_same, encode, load, sample_pairs, words

# Where texts are cut depends on the tokenizer's side, what is computed on the architecture.
CASES = [
    *((name, *lengths) for lengths in ((33, 24), (16, 5)) for name in ("gemma", "gemma_right")),
    *((name, 128, 96) for name in ("gemma", "gemma_right", "gemma_untied", "gemma2", "llama")),
]
TEMPLATES = {
    "bge-gemma": ("gemma", oracles.flag_llm),
    "qwen3-reranker": ("qwen3", oracles.qwen3_card),
    "mxbai-rerank-v2": ("qwen2", oracles.mxbai),
    "zerank": ("qwen3", oracles.zerank),
    "contextual-rerank": ("qwen3", oracles.contextual),
}


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


on_all = pytest.mark.parametrize(("folder", "most", "query_most"), CASES, indirect=["folder"])


@on_all
def test_scores_equal_flag_llm_reranker(folder: Path, most: int, query_most: int):
    pairs = sample_pairs(most, query_most)
    scorer = load(folder, most, query_most, "model.template=bge-gemma")
    scores = scorer.score_pairs(pairs)
    expected = oracles.flag_llm_scores(folder, pairs, most, query_most)
    assert_same(scores, expected)
    assert_same_order(scores, expected)


@on_all
def test_scores_equal_a_float64_forward_on_ids_joined_by_hand(
    folder: Path, most: int, query_most: int
):
    pairs = sample_pairs(most, query_most)
    oracle = oracles.float64(folder)
    scorer = load(folder, most, query_most, "model.template=bge-gemma")
    ids = [oracles.flag_llm(oracle.tokenizer, *pair, most, query_most) for pair in pairs]
    yes = oracles.ids_of(oracle.tokenizer, "Yes")[0]
    assert_same(scorer.score_pairs(pairs), oracle.scores(ids, {yes: 1.0}))


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_score_as_their_authors_code_in_float64(
    template: str, request: pytest.FixtureRequest
):
    name, join = TEMPLATES[template]
    folder = request.getfixturevalue(name)
    oracle = oracles.float64(folder)
    scorer = load(folder, 512, 300, f"model.template={template}")
    pairs = [pair for pair in sample_pairs(128, 90) if max(map(len, pair)) < 500]
    ids = [join(oracle.tokenizer, *pair, 512, 300) for pair in pairs]
    assert encode(scorer, pairs) == ids
    answers = {answer.ids[0]: answer.weight for answer in scorer.pair_format.answers}
    assert_same(scorer.score_pairs(pairs), oracle.scores(ids, answers))


def test_scores_equal_cross_encoder_with_a_logit_score(qwen3: Path):
    pairs = [pair for pair in sample_pairs(128, 90) if max(map(len, pair)) < 500]
    scorer = load(qwen3, LONGEST, 1000, "model.template=qwen3-reranker")
    assert_same(scorer.score_pairs(pairs), oracles.cross_encoder_scores(qwen3, pairs))


@pytest.mark.parametrize("template", ["bge-gemma", "qwen3-reranker", "mxbai-rerank-v2"])
def test_ids_equal_the_authors_at_every_boundary(template: str, request: pytest.FixtureRequest):
    name, join = TEMPLATES[template]
    folder = request.getfixturevalue(name)
    most = {"bge-gemma": 40, "mxbai-rerank-v2": 40, "qwen3-reranker": 240}[template]
    scorer = load(folder, most, 20, f"model.template={template}")
    tokenizer = oracles.float64(folder).tokenizer
    rng = random.Random(11)
    # Of Qwen3 the reference would cut a long query's passage away, and then the query.
    queries = [0, 1, 2, 9, 10] if template == "qwen3-reranker" else range(25)
    pairs = [(words(q, rng), words(p, rng)) for q in queries for p in range(0, 300, 1 + q)]
    wrong = [
        tuple(len(text.split()) for text in pair)
        for pair, ids in zip(pairs, encode(scorer, pairs), strict=True)
        if ids != join(tokenizer, *pair, most, 20)
    ]
    assert not wrong, f"{len(wrong)} of {len(pairs)} differ; words: {wrong[:10]}"


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_cut_is_one_run_of_the_passage_or_the_query(
    template: str, request: pytest.FixtureRequest
):
    folder = request.getfixturevalue(TEMPLATES[template][0])
    cut = load(folder, 300, 20, f"model.template={template}")
    whole = load(folder, 1000, 500, f"model.template={template}")
    rng = random.Random(13)
    shorter = {}
    for query_size, passage_size in [(3, 400), (30, 400), (200, 3), (15, 250), (3, 3)]:
        pair = words(query_size, rng), words(passage_size, rng)
        [ids], [all_ids] = encode(cut, [pair]), encode(whole, [pair])
        assert len(ids) <= cut.pair_format.max_length
        assert ids[-4:] == all_ids[-4:]
        assert is_subsequence(ids, all_ids)
        shorter[query_size, passage_size] = len(all_ids) - len(ids)
    assert shorter[3, 400] > 50
    assert shorter[3, 3] == 0


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("max_batch_tokens", [300, 16_384])
def test_a_pair_scores_the_same_wherever_it_stands(
    template: str, max_batch_tokens: int, request: pytest.FixtureRequest
):
    folder = request.getfixturevalue(TEMPLATES[template][0])
    pair, *others = sample_pairs(128, 90)[:30]
    chosen = f"model.template={template}"
    scorer = load(folder, 400, 100, f"score.max_batch_tokens={max_batch_tokens}", chosen)
    alone = load(folder, 400, 100, chosen).score_pairs([pair])
    first = scorer.score_pairs([pair, *others])
    last = scorer.score_pairs([*others, pair])
    assert_same([first[0], last[-1]], [alone[0], alone[0]], spread=first.std())


def test_bfloat16_is_close_to_float32_and_keeps_its_digits(gemma: Path):
    pairs = sample_pairs(128, 90)
    full = load(gemma, 128, 90).score_pairs(pairs)
    half = load(gemma, 128, 90, "model.dtype=bfloat16").score_pairs(pairs)
    assert np.corrcoef(half, full)[0, 1] > 0.99
    rounded = (half.view(np.uint32) & np.uint32(0xFFFF)) == 0
    assert rounded.mean() < 0.1


def assert_same_order(scores: np.ndarray, expected: np.ndarray) -> None:
    """Pairs that the oracle sets apart by more than rounding are in its order."""
    order = np.argsort(expected)
    steps = np.diff(expected[order])
    ours = np.diff(scores[order])
    assert (ours[steps > 4 * TOLERANCE * np.abs(expected).max()] > 0).all()


def is_subsequence(short: list[int], long: list[int]) -> bool:
    rest = iter(long)
    return all(id_ in rest for id_ in short)
