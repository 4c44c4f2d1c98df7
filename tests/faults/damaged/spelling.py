"""Tokenizers that change the texts, or put tokens of another model into them."""

from __future__ import annotations

from typing import Any

from tests.faults.checkpoint_edits import Build
from tests.faults.damaged.vocabulary import (
    AS_IT_IS,
    END,
    MIDDLE,
    NORMAL,
    PASSAGE,
    PIECE,
    QUERY,
    START,
    Tokens,
    part,
    template,
    tokenizer,
    words,
)

TYPES = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}


def replaced(pattern: str, by: str) -> Build:
    """After the normalizer, what a pattern matches is replaced."""
    replacement = {"type": "Replace", "pattern": {"Regex": pattern}, "content": by}
    return part("normalizer", {"type": "Sequence", "normalizers": [NORMAL, replacement]})


def split(pattern: str, behavior: str, *before: dict[str, Any]) -> Build:
    """Words are split where a pattern matches."""
    last = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}
    return part("pre_tokenizer", {"type": "Sequence", "pretokenizers": [*before, last]})


def added(*texts: str) -> Build:
    """Added tokens of another model, which are found in texts before they are split."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "special"), False)

    def edit(content: dict[str, Any]) -> None:
        content["added_tokens"] += [
            {"id": 7000 + n, "content": text, "normalized": True, **flags}
            for n, text in enumerate(texts)
        ]

    return tokenizer(edit, **AS_IT_IS, **TYPES)


def pair(*tokens: tuple[str, int]) -> Build:
    return tokenizer(
        lambda content: content.update(post_processor=template(*tokens)), **AS_IT_IS, **TYPES
    )


def cut(size: int) -> Build:
    """No words from this id on."""

    def edit(vocabulary: Tokens) -> Tokens:
        return {(word if i < size else f"[unused{i}]"): i for word, i in vocabulary.items()}

    return words(edit)


def unmarked(vocabulary: Tokens) -> Tokens:
    """Half of the pieces within words without their mark."""

    def name(word: str, number: int) -> str:
        bare = word.removeprefix(PIECE)
        return bare if number % 2 == 0 and bare not in vocabulary else word

    return {name(word, number): number for word, number in vocabulary.items()}


def marked(vocabulary: Tokens) -> Tokens:
    """A third of the words with the mark of pieces."""

    def name(word: str, number: int) -> str:
        whole = PIECE + word
        chosen = word.isalpha() and number % 3 == 0 and whole not in vocabulary
        return whole if chosen else word

    return {name(word, number): number for word, number in vocabulary.items()}


KINDS: dict[str, Build] = {
    "vocabulary: cut at 4,000": cut(4000),
    "vocabulary: cut at 2,000": cut(2000),
    "vocabulary: half of the pieces without their mark": words(unmarked),
    "vocabulary: a third of the words with the mark of pieces": words(marked),
    "tokenizer: added tokens of another model, words": added("return", "value", "list", "file"),
    "tokenizer: added tokens of another model, letters": added("e", "s"),
    "tokenizer: e read as a": replaced("e", "a"),
    "tokenizer: doubled letters made single": replaced(r"(?<=(.))\1", ""),
    "tokenizer: no s at the end of words": replaced(r"s\b", ""),
    "tokenizer: digits removed": replaced("[0-9]", ""),
    "tokenizer: hyphens and underscores removed": replaced("[-_]", ""),
    "tokenizer: words split at vowels": split(
        "[aeiou]", "MergedWithNext", {"type": "BertPreTokenizer"}
    ),
    "tokenizer: single characters": split(".", "Isolated"),
    "tokenizer: the query in place of the passage": pair(START, QUERY, MIDDLE, ("A", 1), END),
    "tokenizer: no separator between the texts": pair(START, QUERY, PASSAGE, END),
    "tokenizer: a first token before the passage, too": pair(
        START, QUERY, MIDDLE, ("[CLS]", 1), PASSAGE, END
    ),
}
