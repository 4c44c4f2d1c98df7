"""Checks of the tokenizer, by itself and against the model."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from reranker_core.checks import Check, refusal
from reranker_core.encode.formats.joined import JoinedFormat
from reranker_core.encode.formats.pair_format import PairFormat
from reranker_core.encode.tokenizing import TextTokenizer
from reranker_core.errors import brief
from reranker_core.models.checkpoint import VOCABULARY_FILES, Checkpoint
from reranker_core.models.tokenizer import PROBES
from reranker_core.preflight.canaries import ENGLISH
from reranker_core.preflight.word_splits import check_splits

# Embedding tables are padded to round numbers, by a few percent at most.
_LEAST_COVERED = 0.9
_MOST_UNKNOWN = 0.2
_CHAT_TOKEN = re.compile(r"<\|[^<>|\s]+\|>")


def check_vocabulary_file(checkpoint: Checkpoint) -> Check:
    """There is a vocabulary: without one transformers makes up an empty one, silently."""
    found = [name for name in VOCABULARY_FILES if (checkpoint.folder / name).exists()]
    return Check(
        "tokenizer",
        "vocabulary_present",
        bool(found),
        ", ".join(found) or f"no vocabulary file in {checkpoint.source}",
        f"one of {', '.join(VOCABULARY_FILES)}",
        "Copy the tokenizer's files from the base model of this checkpoint.",
    )


def sendable(pair_format: PairFormat) -> PairFormat:
    """The same, which tasks that tokenize can have.

    Raises:
        PreflightRefused: a part of its tokenizer cannot leave this process.

    """
    try:
        pickle.dumps(pair_format)
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise refusal(
            Check(
                "tokenizer",
                "sendable",
                False,
                brief(error),
                "a tokenizer that uses only parts of the tokenizers library",
                "One part of this tokenizer is Python code, which a job cannot send to other "
                "processes. A replacement would produce different token ids than in training. "
                "Use another model. Without Ray, reranker_core.Reranker can score with this "
                "one.",
            )
        ) from None
    return pair_format


def check_tokenizer(pair_format: PairFormat, model: torch.nn.Module) -> list[Check]:
    """Ids fit the embedding table, words are known, padding is padding."""
    tokenizer = pair_format.tokenizer
    rows = model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    ids = tokenizer.backend.get_vocab().values()
    largest = max(ids, default=-1)
    plain = [text for pair in ENGLISH for text in pair]
    unknown = _unknown_share(tokenizer, plain)
    in_capitals = _unknown_share(tokenizer, [text.upper() for text in plain])
    pad, pad_of_model = tokenizer.pad_id, getattr(model.config, "pad_token_id", None)
    return [
        Check(
            "tokenizer",
            "fits_vocabulary",
            largest < rows and len(ids) >= _LEAST_COVERED * rows,
            f"{len(ids)} tokens up to id {largest}, {rows} embeddings",
            f"every id below the number of embeddings, and at least {_LEAST_COVERED:.0%} of the "
            "embeddings used by the tokenizer",
            "The tokenizer and the weights belong to different models. Copy both from the same "
            "checkpoint.",
        ),
        Check(
            "tokenizer",
            "padding",
            # Causal models look back only, so what is behind the last token does not matter.
            bool(pair_format.answers)
            or getattr(model, "reads_by_length", False)
            or (pad is not None and pad_of_model in (None, pad)),
            f"pad token id {pad}, config.json says {pad_of_model}",
            "a pad token with the same id in the tokenizer and in config.json, if the model has "
            "a head",
            "Copy tokenizer_config.json and special_tokens_map.json from the model's own "
            "repository.",
        ),
        Check(
            "tokenizer",
            "knows_words",
            max(unknown, in_capitals) <= _MOST_UNKNOWN,
            f"{unknown:.0%} of the tokens of plain English text are unknown, {in_capitals:.0%} "
            "of the tokens of the same text in capitals",
            f"at most {_MOST_UNKNOWN:.0%}",
            "The vocabulary does not belong to this model. Copy the tokenizer's files again. If "
            "the model does not support the Latin script, set preflight.checks.tokenizer=warn."
            if unknown > _MOST_UNKNOWN
            else "The vocabulary has no capital letters, and the tokenizer does not convert text "
            "to lower case. Copy the tokenizer's files again. Without a tokenizer.json, set "
            "do_lower_case=true in tokenizer_config.json.",
        ),
        check_splits(tokenizer),
        _check_file(pair_format, has_types=getattr(model.config, "type_vocab_size", 0) > 1),
        _check_separated(pair_format),
        _check_chat_tokens(pair_format),
        _check_answers(pair_format),
    ]


def _check_file(pair_format: PairFormat, has_types: bool) -> Check:
    """Ids and token types are those that the tokenizer itself gives a pair."""
    rebuilt = ", ".join(pair_format.tokenizer.rebuilt)
    other = isinstance(pair_format, JoinedFormat) and _other_pair(pair_format, has_types)
    return Check(
        "tokenizer",
        "as_in_file",
        not other,
        other
        or (
            f"ids are those of tokenizer.json; the class that transformers loads would differ in: "
            f"{rebuilt}"
            if rebuilt
            else "ids and token types are those of the tokenizer"
        ),
        "the ids and token types that the tokenizer itself gives a pair",
        "The post-processor of tokenizer.json puts a pair together in a way that is not supported; "
        "supported are special tokens before, between and behind query and passage. Copy "
        "tokenizer.json again, or score this model with sentence-transformers.",
        notable=bool(rebuilt),
    )


def _other_pair(pair_format: JoinedFormat, has_types: bool) -> str:
    """In what the pairs of this format differ from the tokenizer's own; '' if in nothing."""
    plain, backend = replace(pair_format, prompt=""), pair_format.tokenizer.backend
    texts = [*PROBES.values()]
    passages = [*texts[1:], texts[0]]
    index = np.arange(len(texts))
    found = plain.encode(texts, passages, index, index)
    runs = zip(found.tokens.starts, found.tokens.lengths, found.passage_starts, strict=True)
    for query, passage, (at, length, second) in zip(texts, passages, runs, strict=True):
        own = backend.encode(query, passage)
        if len(own.ids) > pair_format.max_length or length < len(own.ids):
            continue  # cut
        if found.tokens.values[at : at + length].tolist() != own.ids:
            return "the ids of a pair are not those of its texts with special tokens around them"
        types = [int(i >= second) for i in range(length)]
        left_out = not pair_format.around.token_types and max(own.type_ids) > 0
        if has_types and not left_out and types != own.type_ids:
            return (
                f"token types of a pair are {types[:12]} …, the tokenizer's {own.type_ids[:12]} …"
            )
    return ""


def _check_separated(pair_format: PairFormat) -> Check:
    adjacent = re.search(r"\{(query|passage)\}\{(query|passage)\}", pair_format.layout)
    return Check(
        "tokenizer",
        "separates_texts",
        not adjacent,
        f"the input has {adjacent.group()} without a separator" if adjacent else "separated",
        "a separator between query and passage",
        "The tokenizer has lost its post-processor, which adds the separator between two texts. "
        "Copy tokenizer.json and tokenizer_config.json of the model again.",
    )


def _check_chat_tokens(pair_format: PairFormat) -> Check:
    tokenizer = pair_format.tokenizer
    named = sorted(set(_CHAT_TOKEN.findall(pair_format.layout)))
    split = [t for t in named if len(tokenizer.ids(t)) != 1]
    return Check(
        "tokenizer",
        "knows_chat_tokens",
        not split,
        f"{', '.join(split)}: more than one token" if split else ", ".join(named) or "none in use",
        "one token for each chat token of the template",
        "The tokenizer and the template belong to different models. The chat tokens would be "
        "read as plain text. Copy the tokenizer's files again, or set model.template to the "
        "model's own.",
    )


def _check_answers(pair_format: PairFormat) -> Check:
    split = [a for a in pair_format.answers if len(a.ids) != 1]
    unknown = [a for a in pair_format.answers if pair_format.tokenizer.unknown_id in a.ids]
    return Check(
        "tokenizer",
        "answers_are_tokens",
        not split and not unknown,
        ", ".join(f"{a.text!r} is {len(a.ids)} tokens" for a in split)
        or ", ".join(f"{a.text!r} is unknown" for a in unknown)
        or ", ".join(f"{a.text!r} is {a.ids[0]}" for a in pair_format.answers)
        or "the score comes from a head",
        "each answer to be one token of the vocabulary",
        "The score would be the logit of only a part of the answer. The tokenizer or "
        "model.template does not belong to this model. Copy the tokenizer's files again, or set "
        "model.template to the template of this model.",
    )


def _unknown_share(tokenizer: TextTokenizer, texts: Sequence[str]) -> float:
    if tokenizer.unknown_id is None:
        return 0.0
    ids = [i for text in texts for i in tokenizer.ids(text)]
    return ids.count(tokenizer.unknown_id) / max(len(ids), 1)
