"""Embeddings of word forms."""

from __future__ import annotations

import itertools

import pytest
import torch

from reranker_core.preflight.word_forms import check_word_forms, word_forms

STEMS = ["".join(letters) for letters in itertools.product("bcd", "aeo", "klmr", "aei", "nt")]


def table_of(vocabulary: dict[str, int], similar: float = 1.0) -> torch.Tensor:
    """Embeddings in which the forms of a stem share a direction."""
    draw = torch.Generator().manual_seed(0)
    common = torch.randn(len(STEMS), 32, generator=draw)
    own = torch.randn(len(vocabulary), 32, generator=draw)
    for token, i in vocabulary.items():
        stem = token.strip("▁Ġ").lower()[:5]
        if stem in STEMS:
            own[i] = own[i] * 0.3 + common[STEMS.index(stem)] * similar
    return own


def vocabulary(mark: str) -> dict[str, int]:
    forms = [mark + form for stem in STEMS for form in (stem, stem + "s", stem.capitalize())]
    return {token: i for i, token in enumerate(["[PAD]", "##ing", *forms])}


@pytest.mark.parametrize("mark", ["", "▁", "Ġ"])
def test_a_vocabulary_that_fits_passes_and_another_order_does_not(mark: str):
    words = vocabulary(mark)
    table = table_of(words)
    assert check_word_forms(words, table).passed
    draw = torch.Generator().manual_seed(1)
    for share, passed in ((1.0, False), (0.2, False), (0.01, True)):
        rows = torch.randperm(len(table), generator=draw)[: int(share * len(table))]
        moved = table.clone()
        moved[rows] = table[rows.roll(1)]
        assert check_word_forms(words, moved).passed is passed


def test_forms_are_those_of_whole_words():
    found = word_forms({"▁rope": 0, "▁ropes": 1, "ropes": 2, "▁Rope": 3, "▁it": 4, "▁its": 5})
    assert found == [(0, 1), (0, 3)]


def test_a_vocabulary_without_english_is_not_judged():
    check = check_word_forms({"北京": 0, "上海": 1}, torch.zeros(2, 4))
    assert check.passed
    assert "not checked" in check.measured
