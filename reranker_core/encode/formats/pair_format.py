"""What every format provides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from reranker_core.config import ModelConfig
from reranker_core.encode.sequences import Int64s, TokenSequences
from reranker_core.encode.tokenizing import TextTokenizer


@dataclass(frozen=True)
class Answer:
    """A token that a language model may answer with.

    Attributes:
        text: as the template has it; None for an answer that is given by its id.
        ids: all ids of the text. Only the first one is used, so there should be one.
        weight: of its logit in the score.

    """

    text: str | None
    ids: tuple[int, ...]
    weight: float


def specials_in_texts(model: ModelConfig) -> dict[str, Any]:
    """What of the configuration changes how special tokens in texts are read; nothing by
    default.
    """
    read = model.special_tokens
    return {} if read == "as_tokens" else {"special_tokens": read}


class PairFormat(Protocol):
    """Turns texts of pairs into the model's input ids. Can be pickled as its tokenizer can."""

    @property
    def tokenizer(self) -> TextTokenizer:
        """The checkpoint's tokenizer."""

    @property
    def model(self) -> ModelConfig:
        """What is configured, as of long passages."""

    @property
    def max_length(self) -> int:
        """Most ids of a sequence, prompt and special tokens included."""

    @property
    def query_max_length(self) -> int:
        """Most ids of a query."""

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Whose logits make the score; empty for families with a head."""

    @property
    def layout(self) -> str:
        """The whole input as text, with `{query}` and `{passage}` where these go."""

    @property
    def takes_instructions(self) -> bool:
        """Whether a row may bring an instruction of its own."""

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

        `whole` tokenizes texts to their end, so that all that is lost is counted. `instructions`
        are the queries' own ones, None for the configured one; only for formats that
        `takes_instructions`.
        """
