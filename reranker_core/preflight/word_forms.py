"""The check that vocabulary and embeddings belong together.

Forms of a word, such as `house` and `houses`, have similar embeddings in every trained model. For
each pair of forms in the vocabulary, the cosine of their embeddings is compared with the cosines
with embeddings of other words. It is larger than 95 % of these for 99 % of the pairs of the demo's
model, 98 % of all-MiniLM-L6-v2, and 99 % of multilingual-e5-small. If 10 % of the embeddings are
exchanged, it is larger for 81 % of the pairs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from reranker_core.checks import Check

ENDINGS = ("s", "es", "d", "ed", "ing", "ly", "er")
_LETTERS = 4  # of the shorter form; shorter words are often parts of other words
_MARKS = ("▁", "Ġ")  # of a word's beginning, in SentencePiece and in byte-level BPE
_LEAST_PAIRS, _MOST_PAIRS = 100, 4000
_OTHERS = 256
_SIMILAR = 0.95  # share of other words that are less similar
LEAST_SIMILAR = 0.85  # share of the pairs


def check_word_forms(vocabulary: Mapping[str, int], table: torch.Tensor) -> Check:
    """Forms of a word have similar embeddings. `table`: the embeddings, shape (tokens, width)."""
    pairs = word_forms({word: i for word, i in vocabulary.items() if i < len(table)})
    share = similar_share(table, pairs) if len(pairs) >= _LEAST_PAIRS else 1.0
    return Check(
        "meaning",
        "word_forms",
        share >= LEAST_SIMILAR,
        f"{share:.0%} of {len(pairs)} pairs of word forms have similar embeddings"
        if len(pairs) >= _LEAST_PAIRS
        else f"not checked: the vocabulary has {len(pairs)} pairs of word forms",
        f"at least {LEAST_SIMILAR:.0%}; a model with another vocabulary has about 5%",
        "The vocabulary and the embeddings do not belong together: token ids are in another order, "
        "or the embeddings are damaged. Copy the tokenizer's files and the weights again, both "
        "from the same checkpoint.",
    )


def word_forms(vocabulary: Mapping[str, int]) -> list[tuple[int, int]]:
    """Token ids of a word and of the same word with an ending, or with a capital letter."""
    marked = [mark for mark in _MARKS if any(token.startswith(mark) for token in vocabulary)]
    mark = marked[0] if marked else ""
    words = {
        token.removeprefix(mark): i
        for token, i in vocabulary.items()
        if token.startswith(mark) and token.removeprefix(mark).isalpha()
    }
    found = []
    for word, i in words.items():
        if len(word) >= _LETTERS and word.isascii():
            forms = [word + ending for ending in ENDINGS]
            forms += [word.capitalize()] if word.islower() else []
            found += [(i, words[form]) for form in forms if form in words]
    return found[:: len(found) // _MOST_PAIRS + 1]


def similar_share(table: torch.Tensor, pairs: list[tuple[int, int]]) -> float:
    """Share of the pairs whose embeddings are more similar to each other than to those of most
    other words.
    """
    ids = torch.tensor(pairs, dtype=torch.long, device=table.device)
    distinct = ids.unique()
    rows = table[distinct].float()
    rows = torch.nn.functional.normalize(rows - rows.mean(0))
    one, other = rows[torch.searchsorted(distinct, ids)].unbind(1)
    others = rows[:: max(1, len(rows) // _OTHERS)][:_OTHERS]
    less = (one @ others.T < (one * other).sum(1, keepdim=True)).float().mean(1)
    return float((less >= _SIMILAR).float().mean())
