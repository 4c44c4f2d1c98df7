"""A reranker for Python code, without Ray: load, check, score, rank."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from transformers.utils import logging as transformers_logging

from reranker_core.checks import Report
from reranker_core.config import scoring_config
from reranker_core.device import torch_threads
from reranker_core.errors import count
from reranker_core.score.cores import usable_cores
from reranker_core.score.loading import load_scorer
from reranker_core.score.streams import turn

_PAIRS_AT_ONCE = 8192  # sorted by length together; bounds the memory that a long list takes
_EXPECTED = "expected a list of pairs (query, passage), each of two strings"


class Ranked(TypedDict):
    """A passage in the result of `Reranker.rank`, with the keys of `CrossEncoder.rank`.

    `corpus_id` is the passage's index in `passages`. `score` is its raw score. `text` is the
    passage, if `return_documents` was set.
    """

    corpus_id: int
    score: float
    text: NotRequired[str]


class Reranker:
    """A loaded reranker that has passed the checks of preflight.

        from reranker_core import Reranker

        reranker = Reranker("demo/model", max_length=256)
        reranker.score([("sort a list", "list.sort() sorts the list in place.")])

    Threads may share a Reranker: scores are the same as from one thread. Texts are tokenized in
    parallel. The model computes one call at a time, for all Rerankers of a process. After a fork,
    load a new Reranker in the child process. Processes that `spawn` started are safer.

    Logging and progress bars of the process do not change. Loading switches TF32 off for float32
    products on GPUs. `score.reproducible` sets `MKL_CBWR` and `CUBLAS_WORKSPACE_CONFIG`.

    Args:
        path: a model folder, or a hub id.
        config: values of other keys than the model's by their full name, such as
            `{"preflight.languages": ["en", "zh"], "score.max_batch_tokens": 4096}`.
        **model: any key of the section `model` by its name, such as `max_length=`, `device=`,
            `dtype=`, `revision=`, `trust_remote_code=`, `instruction=`, `prompt=`, `template=`,
            `long_passage=`. docs/python.md has a list.

    Raises:
        ConfigError: a key is unknown, its value is wrong, or there is no such model or device.
        PreflightRefused: a check failed, so the scores would have no meaning. The message names the
            checks; `error.report` has all measurements.

    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        config: Mapping[str, Any] | None = None,
        **model: Any,
    ) -> None:
        named = {f"model.{key}": value for key, value in model.items()}
        values = {"model.path": path, **named, **(config or {})}
        self._config = scoring_config({key: _plain(value) for key, value in values.items()})
        # Torch counts the machine's cores; a container may use fewer.
        threads = min(torch.get_num_threads(), usable_cores())
        with turn(), _quietly(), torch_threads(threads):
            self._scorer = load_scorer(self._config)

    @property
    def report(self) -> Report:
        """What preflight measured: checks, device, number format, digests, the prompt as text."""
        return self._scorer.report

    def score(self, pairs: Iterable[Sequence[str]]) -> npt.NDArray[np.float32]:
        """Raw scores of pairs: the model's logits, without an activation function.

        Args:
            pairs: n pairs (query, passage) of two strings; tuples, lists, or rows of an array. A
                single pair is a list of one. An empty text is scored.

        Returns:
            float32, shape (n,), in the order of the pairs; higher is more relevant. NaN where the
            model gives no finite score, not even in float32. If `cutoff_layer` is a list: shape
            (n, layers). Equal pairs are computed once.

        Raises:
            ValueError: an element is not a pair of two strings. The message gives its index and
                type.
            Incomplete: there is too little memory for a single pair.
            PreflightRefused: in half precision, more than 5 % of the scores are not finite, and
                more than 100 of them.

        """
        checked = _checked_pairs(pairs)
        if not checked:
            layers = len(self._config.model.cutoff_layers)
            return np.zeros((0, layers) if layers > 1 else 0, np.float32)
        numbers = {pair: number for number, pair in enumerate(dict.fromkeys(checked))}
        distinct = [*numbers]
        starts = range(0, len(distinct), _PAIRS_AT_ONCE)
        scores = [self._scorer.score_pairs(distinct[at : at + _PAIRS_AT_ONCE]) for at in starts]
        return np.concatenate(scores)[[numbers[pair] for pair in checked]]

    def rank(
        self,
        query: str,
        passages: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
    ) -> list[Ranked]:
        """Passages by their score for one query, the best first.

            reranker.rank("sort a list", ["list.sort() sorts in place.", "Paris is a city."])[0]

        Args:
            query: one string.
            passages: n strings.
            top_k: how many to return, at least 1; None returns all.
            return_documents: whether each result also has the passage, as `text`.

        Returns:
            Results with the keys of `Ranked`. Equal scores keep the order of `passages`; passages
            without a finite score come last.

        Raises:
            ValueError: `query` or a passage is not a string, or `top_k` is not a whole number of
                at least 1.
            Incomplete: there is too little memory for a single pair.

        """
        if top_k is not None and (
            not isinstance(top_k, int | np.integer) or top_k is True or top_k < 1
        ):
            raise ValueError(f"top_k={top_k!r}: expected a whole number from 1, or None for all")
        query = _checked_text(query, "query")
        if isinstance(passages, str | bytes | Mapping | Set) or not isinstance(passages, Iterable):
            raise ValueError(f"passages is {_kind(passages)}; expected a list of strings")
        texts = [_checked_text(text, f"passages[{i}]") for i, text in enumerate(passages)]
        scores = self.score([(query, text) for text in texts])
        counted = scores if scores.ndim == 1 else scores[:, -1]
        best = np.argsort(-counted, kind="stable")[:top_k]  # NaN comes last
        found = [Ranked(corpus_id=int(i), score=float(counted[i])) for i in best]
        if return_documents:
            for result in found:
                result["text"] = texts[result["corpus_id"]]
        return found

    def __repr__(self) -> str:
        report = self.report
        return f"Reranker({self._config.model.path!r}, {report.dtype} on {report.device})"


def _checked_pairs(pairs: Any) -> list[tuple[str, str]]:
    if isinstance(pairs, str | bytes | Mapping | Set) or not isinstance(pairs, Iterable):
        raise ValueError(f"pairs is {_kind(pairs)}; {_EXPECTED}")
    return [_checked_pair(index, pair) for index, pair in enumerate(pairs)]


def _checked_pair(index: int, pair: Any) -> tuple[str, str]:
    """A pair as two strings. Messages hold no text of users."""
    if isinstance(pair, str | bytes | Mapping | Set) or not hasattr(pair, "__len__"):
        hint = ". For one pair, write score([(query, passage)])" if isinstance(pair, str) else ""
        raise ValueError(f"pairs[{index}] is {_kind(pair)}; {_EXPECTED}{hint}")
    if len(pair) != 2:
        raise ValueError(f"pairs[{index}] has {count(len(pair), 'element')}; {_EXPECTED}")
    query, passage = pair
    return (
        _checked_text(query, f"pairs[{index}]: the query"),
        _checked_text(passage, f"pairs[{index}]: the passage"),
    )


def _checked_text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(
            f"{where} is {_kind(value)}; expected a str. Remove it, or replace it with a string "
            "(an empty string is scored)"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{where} is a str that is not valid Unicode (it has surrogates); expected text. "
            "Decode its bytes again with the right encoding"
        ) from None
    return str(value)  # of subclasses, such as numpy's


def _kind(value: Any) -> str:
    """What a wrong value is, without its content."""
    if value is None:
        return "None"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return f"of type {type(value).__name__}"


def _plain(value: Any) -> Any:
    """A setting as the configuration has it."""
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):
        return value.item()
    return list(value) if isinstance(value, tuple) else value


@contextmanager
def _quietly() -> Iterator[None]:
    """No progress bars and no remarks of libraries; afterwards they are as they were."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    hub_bars = not are_progress_bars_disabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
        if hub_bars:
            enable_progress_bars()
        else:
            disable_progress_bars()
