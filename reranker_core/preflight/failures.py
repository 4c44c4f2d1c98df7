"""Errors of other libraries as failed checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from reranker_core.checks import Check, refusal
from reranker_core.device import is_lost, may_pass
from reranker_core.errors import RerankError, brief

_PACKAGES = (
    "This is no fault of the model: a package of this environment is missing or damaged, or a file "
    "of yours has the name of a Python module. Install the packages again, or rename the file."
)


@contextmanager
def as_check(group: str, name: str, expected: str, remedy: str) -> Iterator[None]:
    """Turn an error of another library into a refusal by the check that is described.

    Errors of this package, lack of memory and errors of a lost GPU are raised as they are.

    Raises:
        PreflightRefused: another library raised an error.

    """
    try:
        yield
    except RerankError:
        raise
    except Exception as error:
        if may_pass(error) or _is_of_the_device(error):
            raise
        if isinstance(error, ImportError):
            expected, remedy = "packages that can be imported", _PACKAGES
        raise refusal(Check(group, name, False, brief(error), expected, remedy)) from None


def _is_of_the_device(error: Exception) -> bool:
    if isinstance(error, torch.AcceleratorError):
        return True
    return torch.cuda.is_initialized() and is_lost(error, torch.device("cuda"))


def tokenizes() -> AbstractContextManager[None]:
    """For code that converts texts to token ids."""
    return as_check(
        "tokenizer",
        "usable",
        "a tokenizer that converts a pair of texts to token ids",
        "The tokenizer's files do not match each other, or do not match tokenizer_class in "
        "tokenizer_config.json. Copy all of them again from the model's own repository.",
    )


def computes() -> AbstractContextManager[None]:
    """For code that loads a model or computes scores."""
    return as_check(
        "architecture",
        "computes",
        "a model that computes scores for short pairs and for the longest pairs",
        "A setting in config.json may be wrong, or the class cannot be used as a reranker with the "
        "installed versions. If only long pairs fail, lower model.max_length.",
    )
