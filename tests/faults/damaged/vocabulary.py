"""Damaged tokenizers: a vocabulary that is not that of the weights, other rules, other settings."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.checkpoint_edits import Build, changed, json_file

Tokens = dict[str, int]
SETTINGS = "tokenizer_config.json"
# This class takes tokenizer.json as it is; BertTokenizer makes most of it anew.
AS_IT_IS = {"tokenizer_class": "PreTrainedTokenizerFast"}


def tokenizer(edit: Callable[[dict[str, Any]], object], **settings: object) -> Build:
    """Another tokenizer.json, and other values in tokenizer_config.json."""

    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
        json_file(SETTINGS, **settings)(folder)

    return changed(change)


def words(edit: Callable[[Tokens], Tokens]) -> Build:
    """Another vocabulary; special tokens stay."""

    def change(content: dict[str, Any]) -> None:
        vocabulary = content["model"]["vocab"]
        special = {word: i for word, i in vocabulary.items() if word.startswith("[") and i < 5}
        others = {word: i for word, i in vocabulary.items() if word not in special}
        content["model"]["vocab"] = special | edit(others)

    return tokenizer(change)


def dealt(order: Callable[[list[str]], list[str]], chosen: Callable[[str], bool]) -> Build:
    """The ids of the chosen words dealt out to them in another order."""

    def edit(vocabulary: Tokens) -> Tokens:
        old = sorted((word for word in vocabulary if chosen(word)), key=vocabulary.__getitem__)
        ids = [vocabulary[word] for word in old]
        return vocabulary | dict(zip(order(old), ids, strict=True))

    return words(edit)


def shuffled(share: float) -> Callable[[list[str]], list[str]]:
    def order(old: list[str]) -> list[str]:
        draw, new = random.Random(2), list(old)
        places = draw.sample(range(len(old)), int(share * len(old)))
        for here, there in zip(places, places[1:] + places[:1], strict=True):
            new[here] = old[there]
        return new

    return order


def renamed(chosen: Callable[[str, int], bool], name: Callable[[str, int], str]) -> Build:
    def edit(vocabulary: Tokens) -> Tokens:
        return {(name(w, i) if chosen(w, i) else w): i for w, i in vocabulary.items()}

    return words(edit)


def unused(word: str, number: int) -> str:
    return f"[unused{number}]"


def half(word: str) -> bool:
    return zlib.crc32(word.encode()) % 2 == 0


def model(**values: object) -> Build:
    return tokenizer(lambda content: content["model"].update(values))


def part(name: str, value: object) -> Build:
    return tokenizer(lambda content: content.update({name: value}), **AS_IT_IS)


def template(*tokens: tuple[str, int]) -> dict[str, Any]:
    """A post-processor for pairs: names of tokens or texts, with their token types."""
    ids = {"[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    pair = [
        {("Sequence" if name in "AB" else "SpecialToken"): {"id": name, "type_id": kind}}
        for name, kind in tokens
    ]
    special = {name: {"id": name, "ids": [i], "tokens": [name]} for name, i in ids.items()}
    return {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
        ],
        "pair": pair,
        "special_tokens": special,
    }


START, QUERY, PASSAGE, END = ("[CLS]", 0), ("A", 0), ("B", 1), ("[SEP]", 1)
MIDDLE = ("[SEP]", 0)
NORMAL = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}
PIECE = "##"
KINDS: dict[str, Build] = {
    "vocabulary: ids in alphabetical order": dealt(sorted, lambda word: True),
    "vocabulary: ids in the opposite order": dealt(lambda x: x[::-1], lambda word: True),
    "vocabulary: ids in the order of length": dealt(
        lambda x: sorted(x, key=len), lambda word: True
    ),
    **{
        f"vocabulary: {share:.0%} of the ids exchanged": dealt(shuffled(share), lambda word: True)
        for share in (0.05, 0.1, 0.2, 0.5)
    },
    "vocabulary: all ids moved by one": dealt(lambda x: x[1:] + x[:1], lambda word: True),
    "vocabulary: neighbours exchanged": dealt(
        lambda x: [w for n in range(0, len(x), 2) for w in x[n : n + 2][::-1]], lambda word: True
    ),
    "vocabulary: ids of pieces within words exchanged": dealt(
        shuffled(1.0), lambda word: word.startswith(PIECE)
    ),
    "vocabulary: ids of whole words exchanged": dealt(
        shuffled(1.0), lambda word: not word.startswith(PIECE)
    ),
    "vocabulary: ids of long words exchanged": dealt(shuffled(1.0), lambda word: len(word) > 7),
    "vocabulary: ids of short words exchanged": dealt(shuffled(1.0), lambda word: len(word) < 4),
    "vocabulary: ids of digits exchanged": dealt(shuffled(1.0), lambda word: word.isdigit()),
    "vocabulary: half of the long words [unused]": renamed(
        lambda word, _: len(word) > 4 and half(word), unused
    ),
    "vocabulary: all long words [unused]": renamed(lambda word, _: len(word) > 6, unused),
    "vocabulary: half of all words [unused]": renamed(
        lambda word, _: len(word) > 1 and not word.startswith(PIECE) and half(word), unused
    ),
    "vocabulary: pieces within words [unused]": renamed(
        lambda word, _: word.startswith(PIECE) and len(word) > 3, unused
    ),
    "vocabulary: words with capitals": renamed(
        lambda word, _: word.isalpha() and len(word) > 3, lambda word, _: word.capitalize()
    ),
    "vocabulary: words from 6,000 on [unused]": renamed(lambda word, i: i >= 6000, unused),
    "vocabulary: words from 3,000 to 5,000 [unused]": renamed(
        lambda word, i: 3000 <= i < 5000, unused
    ),
    "tokenizer: no lower case": changed(json_file(SETTINGS, do_lower_case=False)),
    "tokenizer: no lower case, in tokenizer.json": part(
        "normalizer", NORMAL | {"lowercase": False}
    ),
    "tokenizer: no normalizer": part("normalizer", None),
    "tokenizer: words split at blanks only": part("pre_tokenizer", {"type": "WhitespaceSplit"}),
    "tokenizer: runs of punctuation not split": part("pre_tokenizer", {"type": "Whitespace"}),
    "tokenizer: punctuation removed": part(
        "normalizer",
        {
            "type": "Sequence",
            "normalizers": [
                NORMAL,
                {"type": "Replace", "pattern": {"Regex": "[^\\w\\s]"}, "content": " "},
            ],
        },
    ),
    "tokenizer: digits split": part(
        "pre_tokenizer",
        {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "BertPreTokenizer"},
                {"type": "Digits", "individual_digits": True},
            ],
        },
    ),
    "tokenizer: no word split at all": part("pre_tokenizer", None),
    "tokenizer: words up to 5 characters": model(max_input_chars_per_word=5),
    "tokenizer: words up to 8 characters": model(max_input_chars_per_word=8),
    "tokenizer: words up to 12 characters": model(max_input_chars_per_word=12),
    "tokenizer: another mark of pieces": model(continuing_subword_prefix="@@"),
    "tokenizer: one token type": tokenizer(
        lambda content: content.update(
            post_processor=template(START, QUERY, MIDDLE, ("B", 0), ("[SEP]", 0))
        ),
        **AS_IT_IS,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ),
    **{
        f"tokenizer: {what}": tokenizer(
            lambda content, order=order: content.update(post_processor=template(*order)),
            **AS_IT_IS,
            model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        )
        for what, order in {
            "two separators": (START, QUERY, MIDDLE, MIDDLE, PASSAGE, END),
            "no separator at the end": (START, QUERY, MIDDLE, PASSAGE),
            "no first token": (QUERY, MIDDLE, PASSAGE, END),
            "the first token at the end": (QUERY, MIDDLE, PASSAGE, END, ("[CLS]", 1)),
            "the passage first": (START, ("B", 0), MIDDLE, ("A", 1), END),
            "token types exchanged": (
                ("[CLS]", 1),
                ("A", 1),
                ("[SEP]", 1),
                ("B", 0),
                ("[SEP]", 0),
            ),
            "the mask as separator": (START, QUERY, ("[MASK]", 0), PASSAGE, ("[MASK]", 1)),
        }.items()
    },
    "tokenizer: no token types": changed(
        json_file(SETTINGS, **AS_IT_IS, model_input_names=["input_ids", "attention_mask"])
    ),
    "tokenizer: another first token": changed(json_file(SETTINGS, cls_token="[MASK]")),
    "tokenizer: another separator": changed(json_file(SETTINGS, sep_token="[MASK]")),
    "tokenizer: first token and separator exchanged": changed(
        json_file(SETTINGS, cls_token="[SEP]", sep_token="[CLS]")
    ),
    **{
        f"tokenizer: at most {n} tokens": changed(json_file(SETTINGS, model_max_length=n))
        for n in (24, 32, 64, 128)
    },
    "tokenizer: class of RoBERTa": changed(json_file(SETTINGS, tokenizer_class="RobertaTokenizer")),
    "tokenizer: class of ELECTRA, no lower case": changed(
        json_file(SETTINGS, tokenizer_class="ElectraTokenizer", do_lower_case=False)
    ),
    "tokenizer: accents stripped, in BERT's words": changed(
        json_file(SETTINGS, strip_accents=False)
    ),
}
