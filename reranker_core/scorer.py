"""One replica without Ray: load → preflight → score.

scorer = Scorer.load(config)
scorer.score_pairs([("how to cache", "lru_cache keeps the results of …")])
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from reranker_core import models, preflight
from reranker_core.batching import make_batch, plan_batches
from reranker_core.checkpoint import Checkpoint, open_checkpoint
from reranker_core.config import Config
from reranker_core.device import DTYPES, resolve_device, resolve_dtype
from reranker_core.guard import Scores, float32_copy, rescue
from reranker_core.models import Family, PairFormat
from reranker_core.sequences import TokenSequences


class Scorer:
    """A loaded reranker that has passed its preflight.

    Attributes:
        report: what preflight measured.

    """

    def __init__(
        self,
        model: torch.nn.Module,
        family: Family,
        pair_format: PairFormat,
        max_batch_tokens: int,
    ) -> None:
        self._model = model.eval()
        self._family = family
        self._device = next(model.parameters()).device
        self._max_batch_tokens = max_batch_tokens
        self._pad_id = int(pair_format.tokenizer.pad_token_id or 0)
        self.pair_format = pair_format
        self.report: preflight.Report

    @classmethod
    def load(cls, config: Config, checkpoint: Checkpoint | None = None) -> Scorer:
        """Load the configured model and check it.

        Raises:
            ConfigError: model or device is not there.
            PreflightRefused: a check that is set to `refuse` failed.

        """
        checkpoint = checkpoint or open_checkpoint(config.model)
        enforced = config.preflight.checks
        on_disk = preflight.check_checkpoint(checkpoint)
        preflight.enforce(on_disk, enforced)

        device = resolve_device(config.model.device)
        dtype, _ = resolve_dtype(config.model.dtype, device)
        family = models.FAMILIES[models.recognise(checkpoint, config.model.family)]
        pair_format = family.pair_format(checkpoint, config.model)
        loaded = family.load(checkpoint, config.model, DTYPES[dtype], device)
        in_memory = [
            *preflight.check_weights(loaded),
            *preflight.check_tokenizer(pair_format, loaded.model),
        ]
        # Broken weights are not run: what they compute would only repeat the finding.
        preflight.enforce(in_memory, enforced)

        scorer = cls(loaded.model, family, pair_format, config.score.max_batch_tokens)
        computed = preflight.check_scores(scorer._guarded, pair_format.max_length)
        preflight.enforce(computed, enforced)
        scorer.report = preflight.Report((*on_disk, *in_memory, *computed), device, dtype)
        return scorer

    def score(self, sequences: TokenSequences) -> Scores:
        """Scores of all sequences. Non-finite ones are computed again in float32."""
        values = np.empty(len(sequences), np.float32)
        order: list[Any] = []
        outputs: list[torch.Tensor] = []
        lengths = sequences.tokens.lengths
        with torch.inference_mode():
            for rows, width in plan_batches(
                lengths, self._max_batch_tokens, self.pair_format.max_length
            ):
                order.append(rows)
                outputs.append(self._forward(self._model, sequences, rows, width))
            if outputs:
                # One transfer for all batches, so that a GPU is not waited for after each.
                values[np.concatenate(order)] = torch.cat(outputs).cpu().numpy()
            return rescue(values, lambda index: self._score_in_float32(sequences, index))

    def score_pairs(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Float32 scores of (query, passage) texts; NaN where none could be had."""
        return self._guarded(pairs).values

    def _guarded(self, pairs: Sequence[tuple[str, str]]) -> Scores:
        queries = [query for query, _ in pairs]
        passages = [passage for _, passage in pairs]
        index = np.arange(len(pairs))
        return self.score(self.pair_format.encode(queries, passages, index, index))

    def _forward(
        self, model: torch.nn.Module, sequences: TokenSequences, rows: np.ndarray, width: int
    ) -> torch.Tensor:
        batch = make_batch(sequences, rows, width, self._pad_id, self._device)
        return self._family.forward(model, batch)

    def _score_in_float32(self, sequences: TokenSequences, index: int) -> float:
        width = int(sequences.tokens.lengths[index])
        return float(self._forward(self._float32, sequences, np.array([index]), width))

    @cached_property
    def _float32(self) -> torch.nn.Module:
        return float32_copy(self._model)
