"""Users' texts that hold special tokens, such as `[SEP]`, `</s>` or `<|im_end|>`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from tokenizers import Tokenizer

from reranker_core.errors import ConfigError

# U+FFFE is no character, so that texts do not have it. Those that do lose it (`without_marks`).
MARK = "\ufffe\ufffe"


def special_tokens(backend: Tokenizer) -> tuple[str, ...]:
    """The texts of a tokenizer's special tokens, the longest first. Those of single bytes are left
    out: models look for them by these texts.
    """
    added = backend.get_added_tokens_decoder().values()
    found = {token.content for token in added if token.special and token.content}
    found -= {f"<0x{byte:02X}>" for byte in range(256)}
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


def pattern(tokens: Iterable[str]) -> re.Pattern[str]:
    """Finds any of the tokens in a text, where it is not marked; nothing if there are none."""
    names = "|".join(map(re.escape, tokens))
    return re.compile(f"(?<!{MARK})(?:{names})" if names else r"(?!)")


def marked(text: str, tokens: re.Pattern[str]) -> str:
    """The text with a mark before each special token."""
    return tokens.sub(lambda found: MARK + found[0], text)


def without_marks(text: str) -> str:
    """The text without what marks consist of."""
    return text.replace(MARK[0], "") if MARK[0] in text else text


def reading_marked(backend: Tokenizer, tokens: Iterable[str]) -> Tokenizer:
    """A copy of a tokenizer that knows its special tokens by their marked text only, with the same
    ids. Without a mark they are text like any other, also for vocabularies that hold them as words.

    Raises:
        ConfigError: such a copy would have other ids.

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
