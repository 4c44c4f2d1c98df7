"""Whether a WordPiece tokenizer splits text at the places that its vocabulary was made for.

A vocabulary shows this: if training split at punctuation, no token joins a punctuation mark to
another character. A tokenizer that keeps `word,` together then reads an unknown token in place of
the two tokens of its vocabulary. Most words are still right, so canaries hardly see it.
"""

from __future__ import annotations

import re
import string

from tokenizers.models import WordPiece

from reranker_core.checks import Check
from reranker_core.encode.tokenizing import TextTokenizer

# Without blanks: punctuation at words, between them, alone, in rows; as in prose and in code.
_JOINED = ("list,", "(list)", "list:", "read-only", "and/or", "it's", "list()", "list...", "->")
_LONG = ("administrators", "misunderstandings", "characteristically", "representatives")
_MARKS = ".,:;?!()"
_NUMBERS = "0123456789"
_PART = re.compile(r"\w+|[^\w\s]")
_SPECIAL = re.compile(r"[\[<].*[\]>]")


def check_splits(tokenizer: TextTokenizer) -> Check:
    """The check. Tokenizers other than WordPiece are not compared with their vocabulary, except
    for marks that they leave out.
    """
    vocabulary = set(tokenizer.backend.get_vocab(with_added_tokens=False))
    wrong = [
        f"{mark!r} is left out"
        for mark in _MARKS + _NUMBERS
        if _left_out(tokenizer, vocabulary, mark)
    ]
    if isinstance(tokenizer.backend.model, WordPiece):
        prefix: str = tokenizer.backend.model.continuing_subword_prefix
        if _split_in_training(vocabulary, prefix):
            wrong += [f"{text!r} is not split" for text in _JOINED if _kept(tokenizer, text)]
        spelled = (word for word in _LONG if {prefix + letter for letter in word} <= vocabulary)
        wrong += [f"{word!r} is unknown" for word in spelled if _unknown(tokenizer, word)]
    return Check(
        "tokenizer",
        "splits_words",
        not wrong,
        ", ".join(wrong[:4]) + (", …" if len(wrong) > 4 else "")
        or "words and punctuation are split as in the vocabulary",
        "punctuation split as in the vocabulary, no marks and digits left out, and no unknown "
        "words whose letters are known",
        "The normalizer or pre-tokenizer of tokenizer.json is not the one that the model was "
        "trained with. Copy the tokenizer's files again. If the model was trained with this "
        "tokenizer, set preflight.checks.tokenizer=warn.",
    )


def _left_out(tokenizer: TextTokenizer, vocabulary: set[str], mark: str) -> bool:
    """Whether a text has the same ids with and without a mark that is a token."""
    known = not vocabulary.isdisjoint((mark, f"▁{mark}", f"Ġ{mark}"))
    without = (tokenizer.ids("a list"), tokenizer.ids("a  list"), tokenizer.ids("alist"))
    return known and tokenizer.ids(f"a{mark} list") in without


def _split_in_training(vocabulary: set[str], prefix: str) -> bool:
    """Whether no token joins a punctuation mark to another character. BERT's vocabulary has `...`,
    which its tokenizer never makes.
    """
    pieces = (token.removeprefix(prefix) for token in vocabulary if not _SPECIAL.fullmatch(token))
    marks = set(string.punctuation)
    return not any(len({*piece}) > 1 and not marks.isdisjoint(piece) for piece in pieces)


def _kept(tokenizer: TextTokenizer, text: str) -> bool:
    """Whether a text has other ids than its words and marks, all of which are known."""
    parts = _PART.findall(text)
    apart = [i for part in parts for i in tokenizer.ids(part)]
    return not any(_unknown(tokenizer, part) for part in parts) and tokenizer.ids(text) != apart


def _unknown(tokenizer: TextTokenizer, word: str) -> bool:
    """Whether a word has an unknown token, though its letters are known."""
    letters = {i for letter in word for i in tokenizer.ids(letter)}
    unknown = tokenizer.unknown_id
    return unknown not in letters and unknown in tokenizer.ids(word)
