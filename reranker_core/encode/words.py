"""Token ids of texts word by word, where a word that was tokenized before is looked up.

Most words of most texts are among a few ten thousand. A tokenizer that never looks across the space
between two words gives a word the same ids wherever it stands, so a look-up replaces its work.
`WordByWord.of` decides by the parts of a tokenizer whether it is of this kind.
"""

from __future__ import annotations

import json
import re
import string
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer

_MOST_WORDS = 100_000  # that are kept: about 20 MB
_LONGEST = 40  # characters; longer ones, such as URLs, rarely come again

# Letters, digits and signs that are characters of their own beside a space: no marks that combine.
_PLAIN = "!-~\u00c0-\u024f\u0391-\u03ce\u0400-\u0481\u048a-\u04ff\u4e00-\u9fff\uac00-\ud7a3"
_BEFORE_WORDS = re.compile(f"(?<=[{_PLAIN}])(?= [{_PLAIN}])")
# BertNormalizer removes control characters, so that the words around them become one.
_CONTROL = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd"

# Normalizers that change a character, or one with its marks, and nothing beside it.
_LOCAL = {"NFC", "NFKC", "NFD", "NFKD", "Lowercase", "StripAccents", "Precompiled", "Nmt"}
_SPACES = {"Regex": " {2,}"}  # in a Replace
# Patterns of GPT-2, Qwen2 and Llama 3. What they find contains a space at its beginning, or after
# other white space, and nowhere else.
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_PATTERNS = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}|{_REST}",
    rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}{{1,3}}|{_REST}",
)


class WordByWord:
    """Tokenizes texts word by word. Threads may share one.

    Args:
        backend: the tokenizer; it neither cuts nor pads.
        bert: whether any white space ends a word for it. Else a word begins with the space before
            it, if this space stands between plain characters.

    """

    def __init__(self, backend: Tokenizer, bert: bool) -> None:
        self._backend = backend
        self._words = str.split if bert else _BEFORE_WORDS.split
        # Splits more texts than it may; words that come of that are not among the known ones.
        self._fast = str.split if bert else _at_spaces
        added = {token.content for token in backend.get_added_tokens_decoder().values()}
        # Words that begin with a space keep what is white space beside it.
        names = [name for name in added if name.strip() or bert]
        first = "".join(re.escape(name[0]) for name in names)
        joining = _CONTROL if bert else ""
        # What the tokenizer must see as a whole; the first is faster, and finds too much.
        self._possible = re.compile(f"[{joining}{first}]" if joining or first else "(?!)")
        whole = [f"[{joining}]"] * bool(joining) + [re.escape(name) for name in names]
        self._whole = re.compile("|".join(whole) or "(?!)")
        self._ends = re.compile("(?s:.*)" if bert else f"(?s:.*)[{_PLAIN}]").fullmatch
        self._known: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, backend: Tokenizer) -> WordByWord | None:
        """None if the tokenizer may look across the space between two words."""
        normalizers = _parts(backend.normalizer, "normalizers")
        steps = _parts(backend.pre_tokenizer, "pretokenizers")
        added = backend.get_added_tokens_decoder().values()
        if getattr(backend.model, "dropout", None) or any(map(_joins, added)):
            return None
        if _is_bert(normalizers, steps):
            return cls(backend, bert=True)
        if all(map(_is_local, normalizers)) and _splits_before_words(steps):
            return cls(backend, bert=False)
        return None

    def ids(self, texts: list[str]) -> list[bytes]:
        """All ids of each text, as int32 in the order of bytes of this machine, without special
        tokens around them.
        """
        possible, whole = self._possible.search, self._whole.search
        found = self._tokenized({text for text in texts if possible(text) and whole(text)})
        with self._lock:
            known, unknown = self._known, []
            for text in texts:
                if text not in found:
                    run = list(map(known.get, self._fast(text)))
                    if None in run:
                        unknown.append(text)
                    else:
                        found[text] = b"".join(filter(None, run))
            words = {text: self._words(text) for text in unknown}
            new = self._tokenized(set().union(*words.values()) - known.keys())
            for text, some in words.items():
                found[text] = b"".join([new[word] if word in new else known[word] for word in some])
            known.update(item for item in new.items() if self._keeps(item[0]))
            if len(known) > _MOST_WORDS:
                known.clear()
        return [found[text] for text in texts]

    def _keeps(self, word: str) -> bool:
        # The last word of a text may end with what no space may follow, and the first one be empty.
        return len(word) <= _LONGEST and self._ends(word) is not None

    def _tokenized(self, texts: Iterable[str]) -> dict[str, bytes]:
        texts = list(texts)
        encodings = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        runs = (np.array(encoding.ids, np.int32).tobytes() for encoding in encodings)
        return dict(zip(texts, runs, strict=True))


def _joins(token: AddedToken) -> bool:
    """Whether an added token may be found across a space that the text itself does not show."""
    flags = token.lstrip or token.rstrip or token.single_word
    space = bool(set(token.content) & set(string.whitespace))
    return (token.normalized and (space or flags)) or (flags and not token.content.strip())


def _at_spaces(text: str) -> list[str]:
    """The words between all spaces, each but the first with the space before it."""
    first, *others = text.split(" ")
    return [first, *map(" ".__add__, others)]


def _parts(component: Any, name: str) -> list[dict[str, Any]]:
    """The settings of a normalizer or pre-tokenizer, or of those of a sequence of them."""
    if component is None:
        return []
    return _flat(json.loads(component.__getstate__()), name)


def _flat(tree: dict[str, Any], name: str) -> list[dict[str, Any]]:
    if tree["type"] != "Sequence":
        return [tree]
    return [part for each in tree[name] for part in _flat(each, name)]


def _is_bert(normalizers: list[dict[str, Any]], steps: list[dict[str, Any]]) -> bool:
    """Whether any white space ends a word, and no character outside a word changes it."""
    return (
        [part["type"] for part in normalizers] == ["BertNormalizer"]
        and normalizers[0]["clean_text"]
        and [part["type"] for part in steps] == ["BertPreTokenizer"]
    )


def _is_local(normalizer: dict[str, Any]) -> bool:
    if normalizer["type"] != "Replace":
        return normalizer["type"] in _LOCAL
    pattern = normalizer["pattern"]
    return pattern == _SPACES or " " not in pattern.get("String", " ")


def _splits_before_words(steps: list[dict[str, Any]]) -> bool:
    """Whether a space that follows a word and precedes another one begins what is tokenized."""
    match [part["type"] for part in steps]:
        case ["Metaspace"] | ["WhitespaceSplit", "Metaspace"]:
            return bool(steps[-1]["split"])
        case ["ByteLevel"]:
            return bool(steps[0]["use_regex"])
        case ["Split", "ByteLevel"]:
            split = steps[0]
            return (
                split["pattern"].get("Regex") in _PATTERNS
                and split["behavior"] == "Isolated"
                and not split["invert"]
                and not steps[1]["use_regex"]
            )
        case _:
            return False
