"""Texts to token ids, in bulk, without special tokens."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from reranker_core.encode.sequences import Ragged

# Only the first tokens of a text are used, so a text of megabytes need not be read to its end.
# Shorter ones are: there, finding out costs more than it saves.
_LONG_TEXT = 32_768
# WordPiece makes one token of a word of over 100 characters, but up to 100 of a word cut shorter.
_SPARE_TOKENS = 128


# Encodings of many long texts would need gigabytes at once.
_TEXTS_AT_ONCE = 512


@dataclass(frozen=True)
class TextTokenizer:
    """A checkpoint's tokenizer without what transformers puts around it. Can be pickled, if no part
    of it is Python code. Threads may share one, because its backend never changes.

    Attributes:
        backend: what makes ids of text. It neither cuts nor pads.
        truncation_side: where texts that are too long are cut, `left` or `right`.
        pad_id, unknown_id: of its special tokens; None where there is none.
        splits_specials: whether special tokens in a text are read as plain text.

    """

    backend: Tokenizer
    truncation_side: str
    pad_id: int | None
    unknown_id: int | None
    splits_specials: bool

    def __post_init__(self) -> None:
        """Set up the backend, once: settings of a call would be those of other threads, too."""
        self.backend.encode_special_tokens = self.splits_specials
        self.backend.no_padding()
        self.backend.no_truncation()

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew where it is unpickled: the backend's pickle loses `encode_special_tokens`."""
        return TextTokenizer, tuple(getattr(self, field.name) for field in fields(self))

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

    def ids(self, text: str) -> list[int]:
        """All ids of a text, without special tokens."""
        found: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return found

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special tokens included."""
        return self.backend.decode(ids, skip_special_tokens=False)


def tokenize(tokenizer: TextTokenizer, texts: list[str], limit: int | None) -> Ragged:
    """Token ids of each text, at most `limit`, from the tokenizer's side of truncation."""
    if limit is not None and tokenizer.truncation_side == "right":
        texts = [beginning(tokenizer, text, limit) for text in texts]
    return _ids(tokenizer, texts, limit)


def _ids(tokenizer: TextTokenizer, texts: list[str], limit: int | None) -> Ragged:
    used = slice(limit)
    if limit is not None and tokenizer.truncation_side == "left":
        used = slice(-limit, None)
    pieces = [Ragged.of([])]
    for begin in range(0, len(texts), _TEXTS_AT_ONCE):
        some = texts[begin : begin + _TEXTS_AT_ONCE]
        encodings = tokenizer.backend.encode_batch_fast(some, add_special_tokens=False)
        pieces.append(Ragged.of([encoding.ids[used] for encoding in encodings]))
    return Ragged(
        np.concatenate([piece.values for piece in pieces]),
        np.concatenate([piece.lengths for piece in pieces]),
    )


def beginning(tokenizer: TextTokenizer, text: str, limit: int) -> str:
    """A prefix of `text` that gives the same first `limit` tokens.

    It ends at white space where there is some, and is lengthened until it has some tokens more
    than are needed, because only the last tokens of a prefix can differ from the whole text's.
    """
    size = _LONG_TEXT
    while size < len(text):
        space = max(text.rfind(" ", 0, size), text.rfind("\n", 0, size))
        prefix = text[: space if space > size // 2 else size]
        if _ids(tokenizer, [prefix], None).lengths[0] >= limit + _SPARE_TOKENS:
            return prefix
        size *= 2
    return text
