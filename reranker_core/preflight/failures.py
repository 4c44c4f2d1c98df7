"""Errors that libraries raise, as checks of what was asked of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from reranker_core.checks import Check, refusal
from reranker_core.device import is_out_of_memory
from reranker_core.errors import RerankError, brief


@contextmanager
def as_check(group: str, name: str, expected: str, remedy: str) -> Iterator[None]:
    """Turn an error that is none of ours into the refusal by such a check.

    Raises:
        PreflightRefused: there was such an error.

    """
    try:
        yield
    except RerankError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise refusal(Check(group, name, False, brief(error), expected, remedy)) from None


def tokenizes() -> AbstractContextManager[None]:
    """Around what makes ids of a pair."""
    return as_check(
        "tokenizer",
        "usable",
        "a tokenizer that converts a pair of texts to token ids",
        "The tokenizer's files do not match each other, or do not match tokenizer_class in "
        "tokenizer_config.json. Copy all of them again from the model's own repository.",
    )


def computes() -> AbstractContextManager[None]:
    """Around what loads a model's layers, or computes scores with them."""
    return as_check(
        "architecture",
        "computes",
        "a model that computes scores for short pairs and for the longest pairs",
        "A setting in config.json may be wrong, or the class cannot be used as a reranker with the "
        "installed versions. If only long pairs fail, lower model.max_length.",
    )
