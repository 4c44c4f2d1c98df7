"""Many texts to token ids, without special tokens around them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from reranker_core.encode import special_tokens as special
from reranker_core.encode.sequences import Ragged
from reranker_core.encode.words import WordByWord

# Only the first tokens of a text are used, so a text of megabytes need not be read to its end.
# Shorter ones are: there, finding out costs more than it saves.
_LONG_TEXT = 32_768
# WordPiece makes one token of a word of over 100 characters, but up to 100 of a word cut shorter.
_SPARE_TOKENS = 128


# Encodings of many long texts would need gigabytes at once.
TEXTS_AT_ONCE = 512


@dataclass(frozen=True)
class TextTokenizer:
    """A checkpoint's tokenizer as an object of the tokenizers library, without transformers.

    It can be pickled, unless a part of it is Python code. Threads can share it, because its
    settings never change.

    Attributes:
        backend: converts text to ids. It neither truncates nor pads.
        truncation_side: where texts that are too long are cut, `left` or `right`.
        pad_id, unknown_id: ids of these special tokens; None if there is none.
        splits_specials: whether special tokens in a text are read as plain text.
        specials: the texts of the special tokens.
        marks: whether special tokens are recognised only after a mark (`special_tokens`), which
            texts of users never have.
        rebuilt: kinds of texts for which transformers' tokenizer gives other ids than
            tokenizer.json.

    """

    backend: Tokenizer
    truncation_side: str
    pad_id: int | None
    unknown_id: int | None
    splits_specials: bool
    specials: tuple[str, ...] = ()
    marks: bool = False
    rebuilt: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Set up the backend, once: settings of a call would be those of other threads, too."""
        self.backend.encode_special_tokens = self.splits_specials
        self.backend.no_padding()
        self.backend.no_truncation()

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew where it is unpickled: the backend's pickle loses `encode_special_tokens`."""
        return TextTokenizer, tuple(getattr(self, field.name) for field in fields(self))

    @classmethod
    def of(
        cls, tokenizer: Any, special_tokens: str = "as_tokens", rebuilt: tuple[str, ...] = ()
    ) -> TextTokenizer:
        """From a fast tokenizer of transformers.

        Args:
            tokenizer: the tokenizer.
            special_tokens: `as_tokens` or `as_text`: how special tokens in texts of users are read.
            rebuilt: see the attribute.

        Raises:
            ConfigError: this tokenizer cannot read special tokens as text.

        """
        backend, marks = tokenizer.backend_tokenizer, special_tokens == "as_text"
        names = special.special_tokens(backend)
        return cls(
            special.reading_marked(backend, names) if marks else backend,
            tokenizer.truncation_side,
            tokenizer.pad_token_id,
            tokenizer.unk_token_id,
            tokenizer.split_special_tokens,
            names,
            marks,
            rebuilt,
        )

    @property
    def record(self) -> dict[str, str]:
        """The entry of the fingerprint, if transformers' tokenizer would give other ids; else
        empty.
        """
        return {"tokenizer": "tokenizer.json"} if self.rebuilt else {}

    @cached_property
    def _words(self) -> WordByWord | None:
        return WordByWord.of(self.backend)

    @cached_property
    def _special(self) -> re.Pattern[str]:
        return special.pattern(self.specials)

    def own(self, text: str) -> str:
        """Prepare a text of this package, such as a template, whose special tokens are meant."""
        return special.marked(text, self._special) if self.marks else text

    def foreign(self, texts: list[str]) -> list[str]:
        """Prepare texts of users."""
        return [special.without_marks(text) for text in texts] if self.marks else texts

    def holds_specials(self, texts: list[str]) -> npt.NDArray[np.bool_]:
        """Whether each text contains the text of a special token, shape (texts,)."""
        begin = {name[0] for name in self.specials}  # few texts have one of these at all
        found = (
            any(map(text.__contains__, begin)) and bool(self._special.search(text))
            for text in texts
        )
        return np.fromiter(found, bool, len(texts))

    def ids(self, text: str) -> list[int]:
        """All ids of a text of this package, without special tokens around it."""
        found: list[int] = self.backend.encode(self.own(text), add_special_tokens=False).ids
        return found

    def some_ids(self, texts: list[str], used: slice) -> Ragged:
        """The used part of the ids of each text of users, without special tokens around them."""
        if self._words is None:
            encodings = self.backend.encode_batch_fast(texts, add_special_tokens=False)
            return Ragged.of([encoding.ids[used] for encoding in encodings])
        runs = [np.frombuffer(run, np.int32)[used] for run in self._words.ids(texts)]
        lengths = np.fromiter(map(len, runs), np.int64, len(runs))
        return Ragged(np.concatenate(runs), lengths)

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special tokens included."""
        text: str = self.backend.decode(ids, skip_special_tokens=False)
        return special.without_marks(text) if self.marks else text


def tokenize(tokenizer: TextTokenizer, texts: list[str], limit: int | None) -> Ragged:
    """Token ids of each text. Texts with more than `limit` ids are cut at `truncation_side`."""
    if limit is not None and tokenizer.truncation_side == "right":
        texts = [beginning(tokenizer, text, limit) for text in texts]
    return _ids(tokenizer, texts, limit)


def _ids(tokenizer: TextTokenizer, texts: list[str], limit: int | None) -> Ragged:
    used = slice(limit)
    if limit is not None and tokenizer.truncation_side == "left":
        used = slice(-limit, None)
    starts = range(0, len(texts), TEXTS_AT_ONCE)
    pieces = [tokenizer.some_ids(texts[at : at + TEXTS_AT_ONCE], used) for at in starts]
    pieces.append(Ragged.of([]))
    return Ragged(
        np.concatenate([piece.values for piece in pieces]),
        np.concatenate([piece.lengths for piece in pieces]),
    )


def beginning(tokenizer: TextTokenizer, text: str, limit: int) -> str:
    """A prefix of a very long text that has the same first `limit` tokens as the whole text.

    Only the last tokens of a prefix can differ from those of the whole text. So the prefix is made
    longer until it has 128 more tokens than are needed. It ends at white space, if there is any.
    """
    size = _LONG_TEXT
    while size < len(text):
        space = max(text.rfind(" ", 0, size), text.rfind("\n", 0, size))
        prefix = text[: space if space > size // 2 else size]
        if _ids(tokenizer, [prefix], None).lengths[0] >= limit + _SPARE_TOKENS:
            return prefix
        size *= 2
    return text
