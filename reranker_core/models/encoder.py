"""Encoder rerankers: any `…ForSequenceClassification` with one label.

BERT, XLM-RoBERTa (bge-reranker-base, -large, -v2-m3), ModernBERT, DistilBERT, ELECTRA and others.
A pair becomes ids as in FlagEmbedding's FlagReranker: query and passage are tokenized apart, cut,
and joined with the tokenizer's own special tokens. The score is the one logit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from reranker_core.batching import Batch
from reranker_core.checkpoint import Checkpoint
from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError
from reranker_core.models.family import Answer, LoadedModel
from reranker_core.models.loading import (
    inputs_to_float32,
    is_decoder,
    load_classifier,
    load_tokenizer,
    longest_input,
)
from reranker_core.models.networks.first_token import read_first_token_only
from reranker_core.passages import Prepared, assemble, in_chunks, long_passages
from reranker_core.sequences import Int64s, Runs, TokenSequences, take
from reranker_core.tokenizing import tokenize

_DEFAULT_MAX_LENGTH = 512
# Their code in transformers 5.23 writes to no module while it computes.
_STATELESS = {
    *("bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "ernie", "mpnet"),
    *("distilbert", "electra", "albert", "deberta", "deberta-v2", "modernbert"),
}


def fits(architecture: str) -> bool:
    """Whether the class that wrote a checkpoint is an encoder with a classification head."""
    headed = architecture.endswith("ForSequenceClassification")
    return headed and not is_decoder(architecture)


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> PairFormat:
    """The pair format of a checkpoint under the configured length rules.

    Raises:
        PreflightRefused: the tokenizer cannot be loaded.
        ConfigError: the lengths do not fit model or each other.

    """
    tokenizer = load_tokenizer(checkpoint, model)
    longest = longest_input(checkpoint, tokenizer)
    max_length = model.max_length or min(_DEFAULT_MAX_LENGTH, longest)
    if max_length > longest:
        raise ConfigError(
            f"model.max_length={max_length} is beyond the {longest} positions of "
            f"{checkpoint.source}; set it to at most {longest}"
        )
    query_max_length = model.query_max_length or max_length * 3 // 4
    return PairFormat.of(tokenizer, max_length, query_max_length, model)


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """Load with a classification head, which stays in float32 so that scores keep their digits.
    What no head reads is not computed.

    Raises:
        PreflightRefused: transformers cannot make a classification model of the folder.

    """
    loaded = load_classifier("encoder", checkpoint, model, dtype)
    body = loaded.model.base_model_prefix
    head = {name: part for name, part in loaded.model.named_children() if name != body}
    if dtype != torch.float32:
        for module in head.values():
            module.float().register_forward_pre_hook(inputs_to_float32)
    read_first_token_only(loaded.model)
    loaded.model.to(device)
    names = tuple(f"{name}." for name in head)
    return replace(loaded, head=names, reentrant=_is_reentrant(loaded.model))


@dataclass(frozen=True)
class PairFormat:
    """How a pair becomes ids: `prefix q middle p suffix`, at most `max_length` ids."""

    tokenizer: Any
    max_length: int
    query_max_length: int
    model: ModelConfig
    prefix: list[int]
    middle: list[int]
    suffix: list[int]
    token_types: bool  # whether the tokenizer gives the second segment a type of its own

    @classmethod
    def of(
        cls, tokenizer: Any, max_length: int, query_max_length: int, model: ModelConfig
    ) -> PairFormat:
        """Learn the special tokens around a pair from the tokenizer itself.

        Raises:
            ConfigError: the query may take so many tokens that no passage fits.

        """
        if model.truncation != "only_passage" and in_chunks(model):
            raise ConfigError(
                f"model.long_passage={model.long_passage} scores passages in chunks, which needs "
                "model.truncation=only_passage: the query must be the same in all of them"
            )
        prefix, middle, suffix, types = _surroundings(tokenizer)
        specials = len(prefix) + len(middle) + len(suffix)
        if model.truncation == "only_passage" and query_max_length + specials >= max_length:
            raise ConfigError(
                f"model.query_max_length={query_max_length} and {specials} special tokens leave "
                f"no room for a passage in model.max_length={max_length}; lower the first to at "
                f"most {max_length - specials - 1}, or raise the second"
            )
        return cls(tokenizer, max_length, query_max_length, model, prefix, middle, suffix, types)

    @property
    def truncation(self) -> str:
        """What is cut of a pair that is too long."""
        return self.model.truncation

    @property
    def answers(self) -> tuple[Answer, ...]:
        """None: the head gives the score."""
        return ()

    @property
    def layout(self) -> str:
        """The whole input as text, with `{query}` and `{passage}` where these go."""
        around = (self.prefix, self.middle, self.suffix)
        first, middle, last = (self.tokenizer.decode(ids) for ids in around)
        return f"{first}{{query}}{middle}{{passage}}{last}"

    @property
    def takes_instructions(self) -> bool:
        """No: there is no place for one."""
        return False

    @property
    def record(self) -> dict[str, Any]:
        """The lengths, and what is cut."""
        return {
            "max_length": self.max_length,
            "query_max_length": self.query_max_length,
            "truncation": self.truncation,
            **long_passages(self.model),
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
        """Ids of the pairs (queries[query_of[i]], passages[passage_of[i]]), each text tokenized
        once.
        """
        longest = self.truncation == "longest_first"
        whole = whole or in_chunks(self.model)
        query_limit = self.max_length if longest else self.query_max_length
        query_ids = tokenize(self.tokenizer, queries, None if whole else query_limit)
        passage_ids = tokenize(self.tokenizer, passages, None if whole else self.max_length)
        query_lengths = all_of_query = query_ids.lengths[query_of]
        room = self.max_length - len(self.prefix) - len(self.middle) - len(self.suffix)
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
        before = Runs.joined([Runs.same(self.prefix, count), query, Runs.same(self.middle, count)])
        pairs = Prepared(
            before,
            Runs(passage_ids, passage_of),
            Runs.same(self.suffix, count),
            passage_room,
            all_of_query - query_lengths,
        )
        sequences = assemble(pairs, self.model, side)
        if self.token_types:
            return sequences
        # Without types of its own, the second segment begins behind the end.
        return replace(sequences, passage_starts=sequences.tokens.lengths.astype(np.int32))

    def _whole_lengths(self, texts: list[str], index: Int64s) -> Int64s:
        distinct, inverse = np.unique(index, return_inverse=True)
        ids = self.tokenizer([texts[i] for i in distinct], add_special_tokens=False, verbose=False)
        return np.array([len(run) for run in ids["input_ids"]], np.int64)[inverse]


def longest_first(first: Int64s, second: Int64s, room: int) -> tuple[Int64s, Int64s]:
    """Lengths after cutting the longer of two sequences until both fit in `room`.

    As `truncation="longest_first"` of Hugging Face tokenizers (the default of
    sentence-transformers): when both must be cut they share the room, the odd token going to the
    longer one.
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


def forward(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Float32 scores of a batch, shape (rows,)."""
    inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        positions = torch.arange(batch.ids.shape[1], device=batch.ids.device)
        second = positions >= batch.passage_starts[:, None]
        inputs["token_type_ids"] = (second & batch.mask.bool()).long()
    logits: torch.Tensor = model(**inputs).logits
    return logits[:, 0].float()


def _is_reentrant(model: Any) -> bool:
    """Whether the forward is known to leave the model as it is."""
    if not type(model).__module__.startswith("transformers.models."):
        return False
    rope = str(getattr(model.config, "rope_parameters", None))
    return model.config.model_type in _STATELESS and not re.search("dynamic|longrope", rope)


def _surroundings(tokenizer: Any) -> tuple[list[int], list[int], list[int], bool]:
    """The ids that the tokenizer puts before, between and after the two texts of a pair."""
    encoded = tokenizer("a", "b")
    segments = encoded.sequence_ids(0)
    first = [i for i, segment in enumerate(segments) if segment == 0]
    second = [i for i, segment in enumerate(segments) if segment == 1]
    ids = encoded["input_ids"]
    types = encoded.get("token_type_ids")
    own_type = types is not None and types[second[0]] != types[first[0]]
    return ids[: first[0]], ids[first[-1] + 1 : second[0]], ids[second[-1] + 1 :], own_type
