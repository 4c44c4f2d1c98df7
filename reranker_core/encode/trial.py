"""Find the texts of a part that cannot be tokenized, and leave them out.

A text has a number: first the distinct queries of the part are counted, then its distinct passages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from reranker_core.encode.sequences import TokenSequences
from reranker_core.errors import RerankError
from reranker_core.input.pairs import Pairs, Status
from reranker_core.stopping import Stopped

if TYPE_CHECKING:  # for who commits parts, and needs no tokenizer
    from reranker_core.encode.formats.pair_format import PairFormat

_BATCH_TEXTS = 64
_BATCH_CHARACTERS = 1 << 20
# What `before` is told: numbers of the texts that are tokenized next, and how long they are.
Before = Callable[[list[int], int], None]


def tokenized(pairs: Pairs, pair_format: PairFormat, whole: bool) -> TokenSequences:
    """Ids of the distinct pairs; `whole`: tokenize texts to their end."""
    return pair_format.encode(
        pairs.queries,
        pairs.passages,
        pairs.query_of,
        pairs.passage_of,
        whole=whole,
        instructions=pairs.instructions,
    )


def unreadable(
    pairs: Pairs,
    pair_format: PairFormat,
    whole: bool,
    fatal: Iterable[int] = (),
    suspects: Iterable[int] = (),
    before: Before = lambda items, characters: None,
) -> list[int]:
    """Try to tokenize all texts in small groups; the numbers of the texts that raise an error.

    Args:
        pairs: the pairs of the part.
        pair_format: how a pair becomes ids.
        whole: whether texts are tokenized to their end.
        fatal: numbers of texts that are not tried.
        suspects: numbers of texts that are tried alone, after all others.
        before: called before each attempt with the numbers of its texts and their characters.

    Raises:
        RerankError: as `pair_format` raises it.
        BaseException: what the tokenizer raises for an empty text: then texts are not the cause.

    """
    trial = _Trial(pairs, pair_format, whole)
    trial.empty()
    left_out, alone = set(fatal), set(suspects) - set(fatal)
    queue = list(trial.batches(sorted(set(range(trial.count)) - left_out - alone)))
    queue += [[item] for item in sorted(alone)]
    found: list[int] = []
    while queue:
        items = queue.pop(0)
        before(items, sum(len(trial.text(item)) for item in items))
        if not trial.raises(items):
            continue
        if len(items) == 1:
            found += items
        else:
            queue += [[item] for item in items]
    return found


def without(pairs: Pairs, texts: Iterable[int]) -> Pairs:
    """The pairs without these texts. Pairs with one of them get the status ENDS_PROCESS."""
    left_out = np.array(sorted(texts), np.int64)
    if not len(left_out):
        return pairs
    queries, passages = list(pairs.queries), list(pairs.passages)
    for item in left_out:
        texts_of, index = _place(queries, passages, item)
        texts_of[index] = ""
    bad = np.isin(pairs.query_of, left_out)
    bad |= np.isin(pairs.passage_of + len(queries), left_out)
    number = np.full(len(bad) + 1, -1, np.int32)  # the last one is for pairs without a number
    number[:-1][~bad] = np.arange((~bad).sum())
    status = pairs.status.copy()
    known = pairs.distinct_of >= 0
    status[known & np.append(bad, False)[pairs.distinct_of]] = Status.ENDS_PROCESS
    return replace(
        pairs,
        status=status,
        queries=queries,
        passages=passages,
        query_of=pairs.query_of[~bad],
        passage_of=pairs.passage_of[~bad],
        distinct_of=number[pairs.distinct_of],
    )


@dataclass(frozen=True)
class _Trial:
    pairs: Pairs
    pair_format: PairFormat
    whole: bool

    @property
    def count(self) -> int:
        return len(self.pairs.queries) + len(self.pairs.passages)

    def text(self, item: int) -> str:
        texts, index = _place(self.pairs.queries, self.pairs.passages, item)
        return texts[index]

    def batches(self, items: list[int]) -> Iterator[list[int]]:
        """Of queries alone or passages alone, and none too large."""
        batch: list[int] = []
        size = 0
        for item in items:
            length = len(self.text(item))
            full = len(batch) == _BATCH_TEXTS or size + length > _BATCH_CHARACTERS
            if batch and (full or item == len(self.pairs.queries)):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += length
        if batch:
            yield batch

    def empty(self) -> None:
        self._encode([""], [""], None)

    def raises(self, items: list[int]) -> bool:
        texts = [self.text(item) for item in items]
        try:
            if items[0] < len(self.pairs.queries):
                own = self.pairs.instructions
                self._encode(texts, [""], own and [own[item] for item in items])
            else:
                self._encode([""], texts, None)
        except (RerankError, Stopped, KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - a panic of the tokenizer's Rust is no Exception
            return True
        return False

    def _encode(
        self, queries: list[str], passages: list[str], instructions: list[str | None] | None
    ) -> None:
        count = max(len(queries), len(passages))
        each, first = np.arange(count), np.zeros(count, np.int64)
        self.pair_format.encode(
            queries,
            passages,
            each if len(queries) > 1 else first,
            each if len(passages) > 1 else first,
            whole=self.whole,
            instructions=instructions,
        )


def _place(queries: list[str], passages: list[str], item: int) -> tuple[list[str], int]:
    return (queries, item) if item < len(queries) else (passages, item - len(queries))
