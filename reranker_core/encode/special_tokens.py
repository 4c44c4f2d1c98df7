"""Texts of users that contain special tokens, such as `[SEP]`, `</s>` or `<|im_end|>`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from tokenizers import Tokenizer

from reranker_core.errors import ConfigError

# U+FFFE is no character, so that texts do not have it. Those that do lose it (`without_marks`).
MARK = "\ufffe\ufffe"


def special_tokens(backend: Tokenizer) -> tuple[str, ...]:
    """The texts of a tokenizer's special tokens, the longest first. Tokens for single bytes
    (`<0x0A>`) are left out.
    """
    added = backend.get_added_tokens_decoder().values()
    found = {token.content for token in added if token.special and token.content}
    found -= {f"<0x{byte:02X}>" for byte in range(256)}
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


def pattern(tokens: Iterable[str]) -> re.Pattern[str]:
    """A pattern that finds each of these tokens in a text, except after a mark."""
    names = "|".join(map(re.escape, tokens))
    return re.compile(f"(?<!{MARK})(?:{names})" if names else r"(?!)")


def marked(text: str, tokens: re.Pattern[str]) -> str:
    """The text with a mark before each special token."""
    return tokens.sub(lambda found: MARK + found[0], text)


def without_marks(text: str) -> str:
    """The text without the character that marks consist of."""
    return text.replace(MARK[0], "") if MARK[0] in text else text


def reading_marked(backend: Tokenizer, tokens: Iterable[str]) -> Tokenizer:
    """A copy of a tokenizer that recognises special tokens only after a mark; the ids are the same.

    Without a mark, they are plain text, also if the vocabulary contains them as words.

    Raises:
        ConfigError: the copy would give other ids.

    """
    names = set(tokens)
    tree = json.loads(backend.to_str())
    for token in tree["added_tokens"]:
        if token["content"] in names:
            token |= {"content": MARK + token["content"], "normalized": False}
    model = tree["model"]
    if model.get("unk_token") in names:
        model["unk_token"] = MARK + model["unk_token"]
    if isinstance(vocabulary := model["vocab"], dict):
        model["vocab"] = {_renamed(word, names): id_ for word, id_ in vocabulary.items()}
    else:  # of Unigram models: words and their scores
        model["vocab"] = [[_renamed(word, names), score] for word, score in vocabulary]
    copy: Tokenizer = Tokenizer.from_str(json.dumps(tree))
    if any(copy.token_to_id(MARK + name) != backend.token_to_id(name) for name in names):
        raise ConfigError(
            "model.special_tokens=as_text: this tokenizer cannot read its special tokens as "
            "text. Remove this key"
        )
    return copy


def _renamed(word: str, names: set[str]) -> str:
    return MARK + word if word in names else word
