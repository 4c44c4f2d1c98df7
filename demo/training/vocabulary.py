"""A smaller WordPiece vocabulary, cut out of the base model's by frequency in the corpus."""

import json
from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LAST_KEPT_CHARACTER = 0x500  # Latin, Greek and Cyrillic letters stay, whatever their frequency


def pruned_tokenizer(base: Tokenizer, texts: Iterable[str], size: int) -> Tokenizer:
    """Build the same tokenizer over ``size`` pieces, the special ones first.

    Single characters stay, so that a word whose pieces were dropped is spelt, not [UNK].
    """
    counts: Counter[int] = Counter()
    for encoding in base.encode_batch(list(texts), add_special_tokens=False):
        counts.update(encoding.ids)
    pieces = base.get_vocab()
    by_id = {i: piece for piece, i in pieces.items()}
    characters = sorted(piece for piece in pieces if _is_kept_character(piece))
    frequent = [by_id[i] for i, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    kept = list(dict.fromkeys([*SPECIAL, *characters, *frequent]))[:size]
    return _with_vocabulary(base, {piece: i for i, piece in enumerate(kept)})


def _is_kept_character(piece: str) -> bool:
    text = piece.removeprefix("##")
    return len(text) == 1 and ord(text) < _LAST_KEPT_CHARACTER


def _with_vocabulary(base: Tokenizer, vocabulary: dict[str, int]) -> Tokenizer:
    state = json.loads(base.to_str())
    state["model"]["vocab"] = vocabulary
    state["truncation"] = state["padding"] = None
    for token in state["added_tokens"]:
        token["id"] = vocabulary[token["content"]]
    for piece, token in state["post_processor"]["special_tokens"].items():
        token["ids"] = [vocabulary[piece]]
    return Tokenizer.from_str(json.dumps(state))
