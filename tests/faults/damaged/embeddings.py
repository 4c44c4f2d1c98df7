"""Damaged tables of embeddings: words, positions, token types."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from functools import cache

import torch

from tests.damage import Weights
from tests.faults.checkpoint_edits import DEMO, WORDS, Build, Edit, float_weights, tensor
from tests.faults.damaged.numbers import (
    anew,
    anew_rows,
    low_rank,
    noise,
    permuted,
    shuffled,
    shuffled_columns,
)

POSITIONS = "bert.embeddings.position_embeddings.weight"
TYPES = "bert.embeddings.token_type_embeddings.weight"
NORM = "bert.embeddings.LayerNorm"
UNKNOWN, CLS, SEP = 1, 2, 3


def exchanged(one: int, other: int) -> Edit:
    def edit(x: torch.Tensor) -> torch.Tensor:
        x[[one, other]] = x[[other, one]]
        return x

    return edit


def neighbours(x: torch.Tensor) -> torch.Tensor:
    """Rows 2i and 2i + 1 exchanged."""
    x[6::2], x[7::2] = x[7::2].clone(), x[6::2].clone()
    return x


def moved_from(first: int, by: int = 1) -> Edit:
    """Rows from `first` on moved, as after a token that was put in."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        x[first:] = x[first:].roll(by, 0)
        return x

    return edit


def rows(first: int, last: int | None, change: Edit) -> Edit:
    def edit(x: torch.Tensor) -> torch.Tensor:
        x[first:last] = change(x[first:last])
        return x

    return edit


def mean(x: torch.Tensor) -> torch.Tensor:
    return x.mean(0).expand_as(x).clone()


def of_one_size(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(x, dim=1) * x.norm(dim=1).mean()


def half_negated(x: torch.Tensor) -> torch.Tensor:
    x[:, ::2] *= -1
    return x


def again(x: torch.Tensor) -> torch.Tensor:
    """The first half of the rows twice."""
    half = len(x) // 2
    x[half : 2 * half] = x[:half]
    return x


def in_each_other(tensors: Weights) -> None:
    """Word and position rows in each other's place."""
    count = len(tensors[POSITIONS])
    words = tensors[WORDS][:count].clone()
    tensors[WORDS][:count], tensors[POSITIONS] = tensors[POSITIONS].clone(), words


def of_words(chosen: Callable[[str], bool], change: Edit = shuffled) -> Edit:
    """The rows of the chosen words of the demo's vocabulary, changed together."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        words = sorted(i for word, i in vocabulary().items() if i > SEP + 1 and chosen(word))
        x[words] = change(x[words])
        return x

    return edit


@cache
def vocabulary() -> dict[str, int]:
    found: dict[str, int] = json.loads((DEMO / "tokenizer.json").read_text())["model"]["vocab"]
    return found


def within_letters(x: torch.Tensor) -> torch.Tensor:
    for letter in string.ascii_lowercase:
        x = of_words(lambda word, letter=letter: word[0] == letter)(x)  # type: ignore[misc]
    return x


def each_third_unknown(x: torch.Tensor) -> torch.Tensor:
    x[6::3] = x[UNKNOWN]
    return x


WORD_TABLE: dict[str, Edit] = {
    **{f"{s:.0%} of the rows exchanged": permuted(s) for s in (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)},
    "all rows moved by one": moved_from(0),
    "rows from 1,000 on moved by one": moved_from(1000),
    "rows from 5,000 on moved by one": moved_from(5000),
    "rows from 8,000 on moved by one": moved_from(8000),
    "each row in its neighbour's place": neighbours,
    "rows 5 to 1,000 exchanged": permuted(1.0, 5, 1000),
    "rows in the opposite order": lambda x: x.flip(0),
    "columns in another order": shuffled_columns,
    "the first half twice": again,
    "rows 1,000 to 3,000 equal to their mean": rows(1000, 3000, mean),
    "rows from 6,000 on equal to their mean": rows(6000, None, mean),
    "rows from 7,000 on drawn anew": rows(7000, None, anew),
    "rows 1,000 to 2,000 drawn anew": rows(1000, 2000, anew),
    "rows from 7,000 on zero": rows(7000, None, torch.zeros_like),
    **{f"noise of {s:.0%}": noise(s) for s in (0.3, 0.5, 1.0, 2.0)},
    "half of the columns negated": half_negated,
    "multiplied by 3": lambda x: x * 3,
    "multiplied by 0.3": lambda x: x * 0.3,
    "all rows of one length": of_one_size,
    "of rank 32": low_rank(32),
    "of rank 64": low_rank(64),
    "of rank 96": low_rank(96),
    "the separator's row drawn anew": anew_rows(SEP),
    "the first token's row drawn anew": anew_rows(CLS),
    "rows of the first token and the separator exchanged": exchanged(CLS, SEP),
    "the separator's row equal to padding": lambda x: exchanged(SEP, 0)(x),
    "rows of common words drawn anew": anew_rows(*range(1050, 1090)),
    "words of 6 letters exchanged": of_words(lambda word: word.isalpha() and len(word) == 6),
    "words with the same first letter exchanged": within_letters,
    "pieces within words exchanged": of_words(lambda word: word.startswith("##")),
    "digits exchanged": of_words(str.isdigit),
    "tokens beyond ASCII exchanged": of_words(lambda word: not word.isascii()),
    "words of up to 3 letters equal to their mean": of_words(
        lambda word: word.isalpha() and len(word) <= 3, mean
    ),
    "each third row halved": lambda x: x / (1 + (torch.arange(len(x)) % 3 == 0))[:, None],
    "each second row doubled": lambda x: x * (1 + torch.arange(len(x)) % 2)[:, None],
    "each third row equal to the unknown token's": each_third_unknown,
    "multiplied by the root of the width": lambda x: x * x.shape[1] ** 0.5,
}
POSITION_TABLE: dict[str, Edit] = {
    "each one twice": lambda x: x.repeat_interleave(2, 0)[: len(x)],
    "moved by two, the first two kept": lambda x: torch.cat([x[:2], x[:-2]]),
    "zero": torch.zeros_like,
    "moved by one": moved_from(0),
    "moved by two": moved_from(0, 2),
    "moved by sixteen": moved_from(0, 16),
    "in the opposite order": lambda x: x.flip(0),
    "in a random order": shuffled,
    "all equal to the first": lambda x: x[:1].expand_as(x).clone(),
    "the first half twice": again,
    "drawn anew": anew,
    "noise of 100 %": noise(1.0),
    "noise of 300 %": noise(3.0),
    "multiplied by 5": lambda x: x * 5,
    "columns in another order": shuffled_columns,
}
TYPE_TABLE: dict[str, Edit] = {
    "exchanged": lambda x: x.flip(0),
    "both as the first": lambda x: x[:1].expand_as(x).clone(),
    "both as the second": lambda x: x[1:].expand_as(x).clone(),
    "zero": torch.zeros_like,
    "the second zero": lambda x: torch.stack([x[0], x[1] * 0]),
    "negated": lambda x: -x,
    "halved": lambda x: x / 2,
    "doubled": lambda x: x * 2,
    "drawn anew": anew,
    "noise of 100 %": noise(1.0),
    "columns in another order": shuffled_columns,
}
KINDS: dict[str, Build] = {
    **{f"words: {what}": tensor(WORDS, edit) for what, edit in WORD_TABLE.items()},
    **{f"positions: {what}": tensor(POSITIONS, edit) for what, edit in POSITION_TABLE.items()},
    **{f"token types: {what}": tensor(TYPES, edit) for what, edit in TYPE_TABLE.items()},
    "the first rows of words and the positions exchanged": float_weights(in_each_other),
}
