"""Texts to token ids, in bulk, without special tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from reranker_core.encode.sequences import Ragged

# Only the first tokens of a text are used, so a text of megabytes need not be read to its end.
# Shorter ones are: there, finding out costs more than it saves.
_LONG_TEXT = 32_768
# WordPiece makes one token of a word of over 100 characters, but up to 100 of a word cut shorter.
_SPARE_TOKENS = 128


@dataclass(frozen=True)
class TextTokenizer:
    """A checkpoint's tokenizer without what transformers puts around it. Can be pickled, if no part
    of it is Python code.

    Attributes:
        backend: what makes ids of text.
        truncation_side: where texts that are too long are cut, `left` or `right`.
        pad_id, unknown_id: of its special tokens; None where there is none.
        splits_specials: whether special tokens in a text are read as plain text.

    """

    backend: Tokenizer
    truncation_side: str
    pad_id: int | None
    unknown_id: int | None
    splits_specials: bool

    @classmethod
    def of(cls, tokenizer: Any) -> TextTokenizer:
        """That of a fast tokenizer of transformers'."""
        return cls(
            tokenizer.backend_tokenizer,
            tokenizer.truncation_side,
            tokenizer.pad_token_id,
            tokenizer.unk_token_id,
            tokenizer.split_special_tokens,
        )

    def whole(self) -> Tokenizer:
        """The backend, which then neither cuts nor pads."""
        self.backend.encode_special_tokens = self.splits_specials  # which pickling loses
        self.backend.no_padding()
        self.backend.no_truncation()
        return self.backend

    def ids(self, text: str) -> list[int]:
        """All ids of a text, without special tokens."""
        return _ids(self, [text], None)[0]

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special tokens included."""
        return self.backend.decode(ids, skip_special_tokens=False)


def tokenize(tokenizer: TextTokenizer, texts: list[str], limit: int | None) -> Ragged:
    """Token ids of each text, at most `limit`, from the tokenizer's side of truncation."""
    if limit is not None and tokenizer.truncation_side == "right":
        texts = [beginning(tokenizer, text, limit) for text in texts]
    return Ragged.of(_ids(tokenizer, texts, limit))


def _ids(tokenizer: TextTokenizer, texts: list[str], limit: int | None) -> list[list[int]]:
    if not texts:
        return []
    backend = tokenizer.whole()
    if limit is not None:
        backend.enable_truncation(limit, direction=tokenizer.truncation_side)
    return [item.ids for item in backend.encode_batch_fast(texts, add_special_tokens=False)]


def beginning(tokenizer: TextTokenizer, text: str, limit: int) -> str:
    """A prefix of `text` that gives the same first `limit` tokens.

    It ends at white space where there is some, and is lengthened until it has some tokens more
    than are needed, because only the last tokens of a prefix can differ from the whole text's.
    """
    size = _LONG_TEXT
    while size < len(text):
        space = max(text.rfind(" ", 0, size), text.rfind("\n", 0, size))
        prefix = text[: space if space > size // 2 else size]
        if len(_ids(tokenizer, [prefix], limit + _SPARE_TOKENS)[0]) == limit + _SPARE_TOKENS:
            return prefix
        size *= 2
    return text
