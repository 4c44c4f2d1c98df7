"""What every format provides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from reranker_core.config import ModelConfig
from reranker_core.encode.sequences import Int64s, TokenSequences
from reranker_core.encode.tokenizing import TextTokenizer


@dataclass(frozen=True)
class Answer:
    """An answer token of a language model.

    Attributes:
        text: the text in the template; None for an answer that is given by its id.
        ids: all ids of the text. Only the first one is used, so there should be only one.
        weight: weight of its logit in the score.

    """

    text: str | None
    ids: tuple[int, ...]
    weight: float


def specials_in_texts(model: ModelConfig) -> dict[str, Any]:
    """The setting `model.special_tokens`, for the fingerprint; empty for the default."""
    read = model.special_tokens
    return {} if read == "as_tokens" else {"special_tokens": read}


class PairFormat(Protocol):
    """Converts the texts of pairs to input ids. It can be pickled if its tokenizer can."""

    @property
    def tokenizer(self) -> TextTokenizer:
        """The checkpoint's tokenizer."""

    @property
    def model(self) -> ModelConfig:
        """The section `model` of the configuration."""

    @property
    def max_length(self) -> int:
        """Maximum number of ids of a sequence, prompt and special tokens included."""

    @property
    def query_max_length(self) -> int:
        """Maximum number of ids of a query."""

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The tokens whose logits give the score; empty for families with a head."""

    @property
    def layout(self) -> str:
        """The whole input as text, with `{query}` and `{passage}` where these go."""

    @property
    def takes_instructions(self) -> bool:
        """Whether rows can have their own instruction."""

    @property
    def record(self) -> dict[str, Any]:
        """Everything of the format that changes a score, as plain data for the fingerprint."""

    def encode(
        self,
        queries: list[str],
        passages: list[str],
        query_of: Int64s,
        passage_of: Int64s,
        whole: bool = False,
        instructions: list[str | None] | None = None,
    ) -> TokenSequences:
        """Ids of the pairs (queries[query_of[i]], passages[passage_of[i]]).

        Args:
            queries: distinct queries.
            passages: distinct passages.
            query_of: index of the query of each pair, shape (D,).
            passage_of: index of the passage of each pair, shape (D,).
            whole: tokenize texts to their end, so that all tokens that are lost are counted.
            instructions: the instruction of each query, None for the configured one; only if
                `takes_instructions`.

        """
