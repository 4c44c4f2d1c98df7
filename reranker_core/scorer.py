"""One replica without Ray: load → preflight → score.

scorer = Scorer.load(config)
scorer.score_pairs([("how to cache", "lru_cache keeps the results of …")])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from reranker_core import models
from reranker_core.batching import make_batch, plan_batches
from reranker_core.checkpoint import Checkpoint, open_checkpoint
from reranker_core.checks import Inspection, Report
from reranker_core.config import Config
from reranker_core.device import DTYPES, number_formats, resolve_device
from reranker_core.errors import PreflightRefused
from reranker_core.guard import Scores, float32_copy, rescue
from reranker_core.models import Family, PairFormat
from reranker_core.preflight import check_checkpoint
from reranker_core.preflight.agreement import check_same_files
from reranker_core.preflight.canaries import Pair
from reranker_core.preflight.golden import check_golden
from reranker_core.preflight.meaning import check_meaning
from reranker_core.preflight.numerics import check_numerics
from reranker_core.preflight.prompt import check_prompt
from reranker_core.preflight.tokenizer import check_tokenizer
from reranker_core.preflight.weights import check_weights
from reranker_core.sequences import Int64s, TokenSequences


class Scorer:
    """A loaded reranker that has passed its preflight.

    Attributes:
        report: what preflight measured.
        pair_format: how a pair becomes ids.
        max_length, largest_batch, dtype: as `preflight.probe.Probe` wants them.

    """

    report: Report

    def __init__(
        self,
        model: torch.nn.Module,
        family: Family,
        pair_format: PairFormat,
        max_batch_tokens: int,
        dtype: str,
    ) -> None:
        self._model = model.eval()
        self._family = family
        self._device = next(model.parameters()).device
        self._max_batch_tokens = max_batch_tokens
        self._pad_id = int(pair_format.tokenizer.pad_token_id or 0)
        self.pair_format = pair_format
        self.dtype = dtype
        self.max_length = pair_format.max_length
        self.largest_batch = max(1, max_batch_tokens // self.max_length)

    @classmethod
    def load(cls, config: Config, expected: dict[str, str] | None = None) -> Scorer:
        """Load the configured model and check it.

        `expected` are the digests of the files that the run began with.

        Raises:
            ConfigError: model or device is not there.
            PreflightRefused: a check that is set to `refuse` failed.

        """
        checkpoint = open_checkpoint(config.model)
        inspection = Inspection(config.preflight.checks)
        if expected is not None:
            inspection.add([check_same_files(checkpoint, expected)])
        inspection.add(check_checkpoint(checkpoint, config.model))
        device = resolve_device(config.model.device)
        formats = number_formats(config.model.dtype, device)
        failed: list[str] = []
        for dtype, reason in formats.items():
            try:
                reason = "; ".join([*failed, reason])
                return cls._load(config, checkpoint, inspection.copy(), device, dtype, reason)
            except PreflightRefused as refused:
                names = _failed_numerics(refused)
                if not names or dtype == list(formats)[-1]:
                    raise
                failed.append(f"{dtype} failed {', '.join(names)}")
        raise AssertionError("there is always a number format")

    @classmethod
    def _load(
        cls,
        config: Config,
        checkpoint: Checkpoint,
        inspection: Inspection,
        device: str,
        dtype: str,
        reason: str,
    ) -> Scorer:
        family = models.FAMILIES[models.recognise(checkpoint, config.model.family)]
        pair_format = inspection.loading(lambda: family.pair_format(checkpoint, config.model))
        inspection.add(check_prompt(checkpoint, pair_format))
        loaded = inspection.loading(
            lambda: family.load(checkpoint, config.model, DTYPES[dtype], device)
        )
        # Broken weights are not run: what they compute would only repeat the finding.
        inspection.add([*check_weights(loaded), *check_tokenizer(pair_format, loaded.model)])
        scorer = cls(loaded.model, family, pair_format, config.score.max_batch_tokens, dtype)
        numerics, english = check_numerics(scorer)
        inspection.add([*numerics, *check_meaning(scorer, english, config.preflight)])
        facts = {
            "device": device,
            "dtype": dtype,
            "dtype_reason": reason,
            "model": checkpoint.digests,
            "prompt": pair_format.layout,
            "canaries": tuple(english.values.tolist()),
        }
        if config.preflight.golden:
            inspection.add([check_golden(inspection.report(**facts), config.preflight.golden)])
        scorer.report = inspection.report(**facts)
        return scorer

    def score(self, sequences: TokenSequences) -> Scores:
        """Scores of all sequences. Non-finite ones are computed again in float32."""
        values = np.empty(len(sequences), np.float32)
        order: list[Any] = []
        outputs: list[torch.Tensor] = []
        lengths = sequences.tokens.lengths
        with torch.inference_mode():
            for rows, width in plan_batches(lengths, self._max_batch_tokens, self.max_length):
                order.append(rows)
                outputs.append(self._forward(self._model, sequences, rows, width))
            if outputs:
                # One transfer for all batches, so that a GPU is not waited for after each.
                values[np.concatenate(order)] = torch.cat(outputs).cpu().numpy()
            return rescue(values, lambda index: self._score_in_float32(sequences, index))

    def score_warily(
        self,
        sequences: TokenSequences,
        fatal: Int64s,
        suspects: Int64s,
        before: Callable[[Int64s], None],
    ) -> Scores:
        """As `score`, for a part in which a process has ended, so that the next end is known to
        come from one batch or one sequence.

        `fatal` are left out. `suspects` are computed one by one, after all others. `before` is
        called with the sequences of each forward, which is waited for before the next.
        """
        values = np.full(len(sequences), np.nan, np.float32)
        others = np.setdiff1d(np.arange(len(sequences)), np.union1d(fatal, suspects))
        lengths = sequences.tokens.lengths
        batches = [
            (others[rows], width)
            for rows, width in plan_batches(
                lengths[others], self._max_batch_tokens, self.max_length
            )
        ]
        batches += [(np.array([i]), int(lengths[i])) for i in np.setdiff1d(suspects, fatal)]
        redone = 0
        with torch.inference_mode():
            for rows, width in batches:
                before(rows)
                found = self._forward(self._model, sequences, rows, width).cpu().numpy()
                scores = rescue(found, self._redo(sequences, rows))
                values[rows] = scores.values
                redone += scores.rescued
        return Scores(values, redone, fatal)

    def score_pairs(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Float32 scores of (query, passage) texts; NaN where none could be had."""
        return self.score_texts(pairs).values

    def score_texts(self, pairs: Sequence[Pair]) -> Scores:
        """As in the run: in batches, guarded."""
        return self.score(self._encode(pairs))

    def alone(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Each pair by itself, unpadded, in the run's number format."""
        return self._one_by_one(self._model, pairs)

    def reference(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Each pair by itself, unpadded, in float32."""
        return self._one_by_one(float32_copy(self._model), pairs)

    def _one_by_one(self, model: torch.nn.Module, pairs: Sequence[Pair]) -> np.ndarray:
        sequences = self._encode(pairs)
        with torch.inference_mode():
            scores = [
                self._forward(model, sequences, np.array([index]), int(length)).cpu()
                for index, length in enumerate(sequences.tokens.lengths)
            ]
        return torch.cat(scores).numpy()

    def _encode(self, pairs: Sequence[Pair]) -> TokenSequences:
        queries = [query for query, _ in pairs]
        passages = [passage for _, passage in pairs]
        index = np.arange(len(pairs))
        return self.pair_format.encode(queries, passages, index, index)

    def _forward(
        self, model: torch.nn.Module, sequences: TokenSequences, rows: np.ndarray, width: int
    ) -> torch.Tensor:
        batch = make_batch(sequences, rows, width, self._pad_id, self._device)
        return self._family.forward(model, batch)

    def _redo(self, sequences: TokenSequences, rows: Int64s) -> Callable[[int], float]:
        return lambda index: self._score_in_float32(sequences, int(rows[index]))

    def _score_in_float32(self, sequences: TokenSequences, index: int) -> float:
        width = int(sequences.tokens.lengths[index])
        return float(self._forward(self._float32, sequences, np.array([index]), width))

    @cached_property
    def _float32(self) -> torch.nn.Module:
        return float32_copy(self._model)


def _failed_numerics(refused: PreflightRefused) -> list[str]:
    """The failed checks of the arithmetic. Others may have failed because of these."""
    return [
        f"numerics/{check['name']}"
        for check in refused.report["checks"]
        if check["group"] == "numerics" and not check["passed"]
    ]
