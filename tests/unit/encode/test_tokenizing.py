"""Token ids in bulk equal those of one text at a time, and long texts are not read to their end."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from reranker_core.encode import tokenizing
from reranker_core.encode.sequences import Ragged
from reranker_core.encode.tokenizing import TextTokenizer, tokenize
from tests.checkpoints import TEXTS

LIMIT = 128


@pytest.fixture(scope="module", params=["bert", "xlm_roberta", "modernbert"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    folder: Path = request.getfixturevalue(request.param)
    return AutoTokenizer.from_pretrained(folder)


def ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def first_ids(tokenizer: Any, text: str, limit: int = LIMIT) -> list[int]:
    return tokenize(TextTokenizer.of(tokenizer), [text], limit).values.tolist()


LONG_TEXTS = {
    "words": " ".join(random.Random(1).choices(" ".join(TEXTS).split(), k=8_000)),
    "lines": "\n".join(TEXTS * 30),
    "chinese": "".join(random.Random(2).choices(TEXTS[11] + TEXTS[12], k=45_000)),
    "letters": "".join(random.Random(3).choices("abcdefghij", k=45_000)),
    "one letter": "a" * 70_000,
    "punctuation": "".join(random.Random(4).choices("ab.,;", k=45_000)),
    "spaces": " " * 40_000 + TEXTS[0] + " " * 40_000 + TEXTS[1],
    "a long word in the middle": TEXTS[0] + " " + "x" * 70_000 + " " + TEXTS[1],
    "long words": " ".join(["unbelievable" * 3_000, "the" * 10_000, *TEXTS]),
    "emoji": "👨‍👩‍👧" * 8_000,
    "no-break spaces": "\u00a0".join(TEXTS * 30),
    "words that are too long for WordPiece": ".".join("a" * 150 for _ in range(300)),
}


@pytest.mark.parametrize("name", LONG_TEXTS)
def test_a_long_text_gives_the_first_tokens_of_the_whole(tokenizer: Any, name: str):
    text = LONG_TEXTS[name]
    assert first_ids(tokenizer, text) == ids(tokenizer, text)[:LIMIT]


@pytest.mark.parametrize("limit", [1, 16, 100, 512, 8192])
def test_any_limit_gives_the_first_tokens_of_the_whole(tokenizer: Any, limit: int):
    text = LONG_TEXTS["words"]
    assert first_ids(tokenizer, text, limit) == ids(tokenizer, text)[:limit]


def test_a_cut_within_a_word_that_wordpiece_gives_up_on_changes_nothing(bert: Path):
    # Whole, each word is one unknown token; the first 99 characters of one are many known ones.
    tokenizer = AutoTokenizer.from_pretrained(bert)
    text = ".".join(["a" * 150] * 400)
    text = " " * ((32_768 - 99) % 151) + text
    for limit in (430, 440, 470):
        assert first_ids(tokenizer, text, limit) == ids(tokenizer, text)[:limit]


def test_many_texts_give_each_texts_own_tokens(tokenizer: Any):
    texts = ["", *TEXTS, " ", LONG_TEXTS["words"], "", TEXTS[0]]
    expected = [ids(tokenizer, text)[:LIMIT] for text in texts]
    found = tokenize(TextTokenizer.of(tokenizer), texts, LIMIT)
    assert found.lengths.tolist() == [len(run) for run in expected]
    assert found.values.tolist() == [i for run in expected for i in run]


def test_threads_that_share_a_tokenizer_get_their_own_limits(tokenizer: Any):
    shared, text = TextTokenizer.of(tokenizer), " ".join(TEXTS)
    limits = [1, 5, 40, None, 200] * 40
    alone = {limit: tokenize(shared, [text], limit).values.tolist() for limit in limits}
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda limit: tokenize(shared, [text], limit).values.tolist(), limits)
        assert all(run == alone[limit] for limit, run in zip(limits, found, strict=True))


def test_no_texts(tokenizer: Any):
    assert len(tokenize(TextTokenizer.of(tokenizer), [], LIMIT).lengths) == 0


def test_the_tokenizer_can_still_be_used_without_a_limit(tokenizer: Any):
    before = ids(tokenizer, TEXTS[4] * 5)
    tokenize(TextTokenizer.of(tokenizer), [TEXTS[4]], 3)
    assert ids(tokenizer, TEXTS[4] * 5) == before


def test_a_tokenizer_that_truncates_from_the_left_gives_the_last_tokens(bert: Path):
    tokenizer = AutoTokenizer.from_pretrained(bert, truncation_side="left")
    text = LONG_TEXTS["words"]
    assert first_ids(tokenizer, text) == ids(tokenizer, text)[-LIMIT:]


def test_of_a_very_long_text_only_the_beginning_is_read(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
):
    read: list[int] = []
    whole = tokenizing._ids

    def ids_of(tokenizer: TextTokenizer, texts: list[str], limit: int | None) -> Ragged:
        read.extend(map(len, texts))
        return whole(tokenizer, texts, limit)

    monkeypatch.setattr(tokenizing, "_ids", ids_of)
    text = " ".join(TEXTS * 200)  # 330,000 characters
    tokenize(TextTokenizer.of(tokenizer), [text], LIMIT)
    assert sum(read) < len(text) / 4
