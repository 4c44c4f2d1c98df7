"""The pair format of encoders: query and passage with the tokenizer's special tokens around them.

As in FlagEmbedding's FlagReranker, query and passage are tokenized separately, cut, and joined.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from reranker_core.config import ModelConfig
from reranker_core.encode.formats.pair_format import Answer, specials_in_texts
from reranker_core.encode.passages import Prepared, assemble, in_chunks, long_passages
from reranker_core.encode.sequences import Int64s, Runs, TokenSequences, take
from reranker_core.encode.tokenizing import TextTokenizer, tokenize
from reranker_core.errors import ConfigError


@dataclass(frozen=True)
class Surroundings:
    """The special tokens that the tokenizer puts around the two texts of a pair.

    Attributes:
        prefix, middle, suffix: ids before, between and after the texts.
        token_types: whether the second text has another token type than the first.

    """

    prefix: list[int]
    middle: list[int]
    suffix: list[int]
    token_types: bool

    @property
    def specials(self) -> int:
        """Number of special tokens of a pair."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)

    def room(self, max_length: int) -> int:
        """Tokens that a query can have if one token of the passage is to fit."""
        return max_length - self.specials - 1

    @classmethod
    def of(cls, backend: Tokenizer, gives_types: bool) -> Surroundings:
        """Take them from the ids that a tokenizer gives for a pair of letters.

        `gives_types`: whether the model gets token types.
        """
        encoded = backend.encode("a", "b")
        segments = encoded.sequence_ids
        first = [i for i, segment in enumerate(segments) if segment == 0]
        second = [i for i, segment in enumerate(segments) if segment == 1]
        ids, types = encoded.ids, encoded.type_ids
        return cls(
            ids[: first[0]],
            ids[first[-1] + 1 : second[0]],
            ids[second[-1] + 1 :],
            gives_types and types[second[0]] != types[first[0]],
        )


@dataclass(frozen=True)
class JoinedFormat:
    """A pair becomes `prefix query middle passage suffix`, at most `max_length` ids.

    Raises:
        ConfigError: `query_max_length` leaves no room for a passage, or chunks are combined with
            `model.truncation=longest_first`.

    """

    tokenizer: TextTokenizer
    around: Surroundings
    max_length: int
    query_max_length: int
    model: ModelConfig
    settings: dict[str, Any] = field(default_factory=dict)  # of the family
    prompt: str = ""  # stands before each query, and is cut with it

    def __post_init__(self) -> None:
        """See whether the lengths go together."""
        model, around = self.model, self.around
        if model.truncation != "only_passage" and in_chunks(model):
            raise ConfigError(
                f"model.long_passage={model.long_passage} scores a passage in chunks. All "
                "chunks need the same query, so set model.truncation=only_passage"
            )
        room = around.room(self.max_length)
        if model.truncation == "only_passage" and self.query_max_length > room:
            least = self.query_max_length + around.specials + 1
            lower = f"model.query_max_length to at most {room}. Or set " if room > 0 else ""
            raise ConfigError(
                f"model.query_max_length={self.query_max_length} and {around.specials} special "
                f"tokens leave no room for a passage in model.max_length={self.max_length}. Set "
                f"{lower}model.max_length to at least {least}, if the model has that many positions"
            )

    @property
    def truncation(self) -> str:
        """`model.truncation`: what is cut if a pair is too long."""
        return self.model.truncation

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Empty: the head gives the score."""
        return ()

    @property
    def layout(self) -> str:
        """The whole input as text, with `{query}` and `{passage}` where these go."""
        around = (self.around.prefix, self.around.middle, self.around.suffix)
        first, middle, last = (self.tokenizer.decode(ids) for ids in around)
        return f"{first}{self.prompt}{{query}}{middle}{{passage}}{last}"

    @property
    def takes_instructions(self) -> bool:
        """False: there is no place for an instruction."""
        return False

    @property
    def record(self) -> dict[str, Any]:
        """Lengths, truncation and other settings that change ids, for the fingerprint."""
        return {
            "max_length": self.max_length,
            "query_max_length": self.query_max_length,
            "truncation": self.truncation,
            **specials_in_texts(self.model),
            **long_passages(self.model),
            **self.tokenizer.record,
            **({"prompt": self.prompt} if self.prompt else {}),
            **self.settings,
        }

    def encode(
        self,
        queries: list[str],
        passages: list[str],
        query_of: Int64s,
        passage_of: Int64s,
        whole: bool = False,
        instructions: list[str | None] | None = None,
    ) -> TokenSequences:
        """Ids of the pairs (queries[query_of[i]], passages[passage_of[i]]). Each text is tokenized
        once. `instructions` are ignored.
        """
        queries, passages = self.tokenizer.foreign(queries), self.tokenizer.foreign(passages)
        if self.prompt:
            prompt = self.tokenizer.own(self.prompt)
            queries = [prompt + query for query in queries]
        longest = self.truncation == "longest_first"
        whole = whole or in_chunks(self.model)
        query_limit = self.max_length if longest else self.query_max_length
        query_ids = tokenize(self.tokenizer, queries, None if whole else query_limit)
        passage_ids = tokenize(self.tokenizer, passages, None if whole else self.max_length)
        query_lengths = all_of_query = query_ids.lengths[query_of]
        prefix, middle, suffix = self.around.prefix, self.around.middle, self.around.suffix
        room = self.max_length - len(prefix) - len(middle) - len(suffix)
        if longest:
            passage_lengths = passage_ids.lengths[passage_of]
            # Where both are cut already, which of them is longer decides who gets the odd token.
            tied = (query_lengths == self.max_length) & (passage_lengths == self.max_length)
            if room % 2 and tied.any():
                query_lengths[tied] = self._whole_lengths(queries, query_of[tied])
                passage_lengths[tied] = self._whole_lengths(passages, passage_of[tied])
            query_lengths, passage_room = longest_first(query_lengths, passage_lengths, room)
        else:
            query_lengths = np.minimum(query_lengths, query_limit)
            passage_room = room - query_lengths
        count, side = len(query_of), self.tokenizer.truncation_side
        query = Runs(take(query_ids, query_of, query_lengths, side), np.arange(count))
        before = Runs.joined([Runs.same(prefix, count), query, Runs.same(middle, count)])
        pairs = Prepared(
            before,
            Runs(passage_ids, passage_of),
            Runs.same(suffix, count),
            passage_room,
            all_of_query - query_lengths,
        )
        sequences = assemble(pairs, self.model, side)
        if self.around.token_types:
            return sequences
        # Without types of its own, the second segment begins behind the end.
        return replace(sequences, passage_starts=sequences.tokens.lengths.astype(np.int32))

    def _whole_lengths(self, texts: list[str], index: Int64s) -> Int64s:
        distinct, inverse = np.unique(index, return_inverse=True)
        return tokenize(self.tokenizer, [texts[i] for i in distinct], None).lengths[inverse]


def longest_first(first: Int64s, second: Int64s, room: int) -> tuple[Int64s, Int64s]:
    """Lengths after cutting the longer of two sequences until both together fit in `room`.

    As `truncation="longest_first"` of Hugging Face tokenizers, the default of
    sentence-transformers: if both must be cut, each gets half of the room; if the room is odd, the
        longer one gets one
    more. `first`, `second` and both results have shape (pairs,).
    """
    short, long = np.minimum(first, second), np.maximum(first, second)
    long_cut = np.maximum(short, room - short)
    long_cut = np.where(short > room, short, long_cut)
    fits = first + second <= room
    halves = short + long_cut > room
    new_short = np.where(fits, short, np.where(halves, room // 2, short))
    new_long = np.where(fits, long, np.where(halves, room // 2 + room % 2, long_cut))
    new_long = np.minimum(new_long, long)
    new_short = np.minimum(new_short, short)
    swapped = first > second
    return np.where(swapped, new_long, new_short), np.where(swapped, new_short, new_long)
