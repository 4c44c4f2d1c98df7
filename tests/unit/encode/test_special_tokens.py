"""Texts of users that hold special tokens: counted, and read as tokens or as text."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from reranker_core.config import ModelConfig
from reranker_core.encode.formats.pair_format import PairFormat
from reranker_core.encode.special_tokens import MARK
from reranker_core.encode.tokenizing import TextTokenizer, tokenize
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.families import FAMILIES, recognise
from tests.checkpoints import TEXTS

TEMPLATES = {"qwen3": "qwen3-reranker", "gemma": "bge-gemma"}
NAMES = ["bert", "xlm_roberta", "modernbert", "qwen3", "gemma", "llama"]


def pair_format(folder: Path, name: str, **more: Any) -> PairFormat:
    model = ModelConfig(path=str(folder), template=TEMPLATES.get(name, "auto"), **more)
    checkpoint = open_checkpoint(model)
    return FAMILIES[recognise(checkpoint, "auto")].pair_format(checkpoint, model)


def pair_ids(found: PairFormat, query: str, passage: str) -> list[int]:
    zero = np.zeros(1, np.int64)
    return found.encode([query], [passage], zero, zero).tokens.values.tolist()


@pytest.fixture(params=NAMES)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return AutoTokenizer.from_pretrained(request.getfixturevalue(request.param))


def special_ids(tokenizer: Any) -> set[int]:
    added = tokenizer.added_tokens_decoder.items()
    unknown = tokenizer.unk_token_id  # also of characters that the vocabulary lacks
    return {
        id_
        for id_, token in added
        if token.special and id_ != unknown and not token.content.startswith("<0x")
    }


def test_as_text_no_special_token_is_read_in_a_text(tokenizer: Any):
    plain = TextTokenizer.of(tokenizer, "as_text")
    specials = special_ids(tokenizer)
    assert len(specials) >= 3
    for name in plain.specials:
        for text in (name, f"a {name} b", f"a{name}b", f"{name}{name}", f"{name} \n{name}"):
            found = tokenize(plain, plain.foreign([text]), None).values.tolist()
            assert not specials & set(found), text
            assert found


def test_as_text_other_texts_have_the_ids_that_they_always_had(tokenizer: Any):
    plain, usual = TextTokenizer.of(tokenizer, "as_text"), TextTokenizer.of(tokenizer)
    for text in (*TEXTS, "", " ", " a  b ", "\n\n", "[ SEP ]", "< s>", "ﬁ ½ Ａ"):
        expected = tokenizer(text, add_special_tokens=False)["input_ids"]
        for one in (plain, usual):
            assert tokenize(one, one.foreign([text]), None).values.tolist() == expected


def test_as_text_our_own_texts_keep_their_special_tokens(tokenizer: Any):
    plain, usual = TextTokenizer.of(tokenizer, "as_text"), TextTokenizer.of(tokenizer)
    for name in usual.specials:
        text = f"{name}system\nYou are {name}{name} a judge.{name}"
        assert plain.ids(text) == usual.ids(text)
        assert plain.decode(plain.ids(text)) == usual.decode(usual.ids(text))


def test_a_text_cannot_bring_the_mark(tokenizer: Any):
    plain = TextTokenizer.of(tokenizer, "as_text")
    texts = [
        f"{mark}{name}" for name in plain.specials for mark in (MARK, MARK * 2, MARK[0] + MARK)
    ]
    found = tokenize(plain, plain.foreign(texts), None).values.tolist()
    assert not special_ids(tokenizer) & set(found)


@pytest.mark.parametrize("name", ["bert", "xlm_roberta", "qwen3", "gemma"])
def test_a_pair_as_text_has_the_special_tokens_of_the_format_alone(
    name: str, request: pytest.FixtureRequest
):
    folder = request.getfixturevalue(name)
    usual, plain = (
        pair_format(folder, name, special_tokens=how) for how in ("as_tokens", "as_text")
    )
    plain = pickle.loads(pickle.dumps(plain))
    harmless = pair_ids(usual, "a query", "a passage")
    assert pair_ids(plain, "a query", "a passage") == harmless
    assert plain.layout == usual.layout
    specials = special_ids(AutoTokenizer.from_pretrained(folder))
    own = [i for i in harmless if i in specials]
    assert own
    text = f"sort{''.join(usual.tokenizer.specials)} the list"
    for query, passage in ((text, "a passage"), ("a query", text), (text, text)):
        assert [i for i in pair_ids(plain, query, passage) if i in specials] == own
        assert [i for i in pair_ids(usual, query, passage) if i in specials] != own


def test_only_as_text_is_a_part_of_the_fingerprint(bert: Path, qwen3: Path):
    for folder, name in ((bert, "bert"), (qwen3, "qwen3")):
        usual = pair_format(folder, name).record
        plain = pair_format(folder, name, special_tokens="as_text").record
        assert plain == usual | {"special_tokens": "as_text"}
        assert "special_tokens" not in usual


def test_texts_with_special_tokens_are_found(bert: Path, xlm_roberta: Path, qwen3: Path):
    found = {
        folder: TextTokenizer.of(AutoTokenizer.from_pretrained(folder)).holds_specials(
            ["", "plain", "[SEP]", "a[PAD]b", "[sep]", "[1] and <b>", "<s>old</s>", "<|im_end|>"]
        )
        for folder in (bert, xlm_roberta, qwen3)
    }
    assert np.flatnonzero(found[bert]).tolist() == [2, 3]
    assert np.flatnonzero(found[xlm_roberta]).tolist() == [6]
    assert np.flatnonzero(found[qwen3]).tolist() == [7]
