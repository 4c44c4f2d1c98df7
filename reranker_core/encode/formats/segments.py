"""Texts in the segments of a template, and which tokens belong to which text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import numpy as np

from reranker_core.config import Template
from reranker_core.encode.sequences import Int64s, Ragged, Runs
from reranker_core.encode.tokenizing import TEXTS_AT_ONCE, TextTokenizer

_PLACEHOLDER = re.compile(r"\{(query|passage|instruction|prompt)\}")
Span = tuple[int, int]  # index of the first character, and of the one after the last


def filled(
    template: Template,
    segment: str,
    query: str = "",
    passage: str = "",
    instruction: str | None = None,
) -> str:
    """A segment with the texts in place of its placeholders."""
    return with_spans(template, segment, query, passage, instruction)[0]


def with_spans(
    template: Template, segment: str, query: str, passage: str, own: str | None
) -> tuple[str, Span, Span]:
    """As `filled`, with the positions of query and passage in the result.

    `own` is the instruction of the row; None: that of the template.
    """
    instruction = template.instruction if own is None else own
    values = {
        "query": query,
        "passage": passage,
        "prompt": template.prompt,
        "instruction": instruction
        and template.instruction_format.replace("{instruction}", instruction),
    }
    text, position = "", 0
    spans = {"query": (0, 0), "passage": (0, 0)}
    for found in _PLACEHOLDER.finditer(segment):
        text += segment[position : found.start()]
        spans[found[1]] = (len(text), len(text) + len(values[found[1]]))
        text += values[found[1]]
        position = found.end()
    return text + segment[position:], spans["query"], spans["passage"]


def has_text(segment: str) -> bool:
    """Whether a segment differs from pair to pair."""
    return any(f"{{{name}}}" in segment for name in ("query", "passage", "instruction"))


def split_joint(
    tokenizer: TextTokenizer,
    texts: list[str],
    spans: list[tuple[Span, Span]],
    room: int,
    query_max_length: int,
) -> tuple[Runs, Runs, Runs, Int64s]:
    """Tokenize segments with both texts of a pair: ids before, in and after the passage.

    Args:
        tokenizer: the tokenizer of the checkpoint.
        texts: the segments, one for each pair.
        spans: positions of query and passage in each segment.
        room: maximum number of ids of a segment. If a segment has more, its query is cut to
            `query_max_length` and to the room that is left. The passage is not cut here.
        query_max_length: maximum number of ids of a query in such a segment.

    Returns:
        The ids before, in and after the passage, and the number of ids that were cut from each
        query, shape (pairs,).

    """
    heads, middles, tails, lost = [], [], [], []
    for encoding, (query, passage) in zip(_encodings(tokenizer, texts), spans, strict=True):
        ids = encoding.ids
        ends = [end for _, end in encoding.offsets]
        first, last = (bisect_right(ends, char) for char in passage)
        head, middle, tail = ids[:first], ids[first:last], ids[last:]
        kept = len(head) + len(tail)
        if len(ids) > room:
            start, stop = (bisect_right(ends, char) for char in query)
            others = len(ids) - len(middle) - (stop - start)
            keep = max(0, min(query_max_length, room - others))
            if stop <= first:
                head = head[: min(start + keep, stop)] + head[stop:]
            else:
                tail = tail[: min(start - last + keep, stop - last)] + tail[stop - last :]
        lost.append(kept - len(head) - len(tail))
        heads.append(head)
        middles.append(middle)
        tails.append(tail)
    index = np.arange(len(texts))
    before, between, behind = (Runs(Ragged.of(runs), index) for runs in (heads, middles, tails))
    return before, between, behind, np.array(lost, np.int64)


def _encodings(tokenizer: TextTokenizer, texts: list[str]) -> Iterator[Any]:
    """Of each text. Those of all texts of a part at once would need gigabytes."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = texts[start : start + TEXTS_AT_ONCE]
        yield from tokenizer.backend.encode_batch(some, add_special_tokens=False)
