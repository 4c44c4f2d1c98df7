"""A scorer from a configuration: files, number format, model, preflight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from reranker_core.checks import Inspection
from reranker_core.config import Config, ScoringConfig
from reranker_core.device import (
    DTYPES,
    exact_float32,
    free_memory,
    keep_order_of_sums,
    number_formats,
    processor,
    release_memory,
    resolve_device,
)
from reranker_core.encode.formats.pair_format import PairFormat
from reranker_core.errors import PreflightRefused
from reranker_core.models import families
from reranker_core.models.checkpoint import Checkpoint, open_checkpoint
from reranker_core.models.family import Family, LoadedModel
from reranker_core.models.modules import body_length
from reranker_core.models.quantised import quantisation
from reranker_core.preflight.agreement import check_same_files
from reranker_core.preflight.canaries import ENGLISH, lengthening
from reranker_core.preflight.checkpoint import check_checkpoint
from reranker_core.preflight.failures import computes, tokenizes
from reranker_core.preflight.golden import check_golden
from reranker_core.preflight.head import check_alignment
from reranker_core.preflight.meaning import check_meaning
from reranker_core.preflight.numerics import check_numerics
from reranker_core.preflight.prompt import check_prompt
from reranker_core.preflight.room import check_room
from reranker_core.preflight.settings import check_length, check_settings
from reranker_core.preflight.structure import check_structure
from reranker_core.preflight.tokenizer import check_tokenizer
from reranker_core.preflight.weights import check_weights
from reranker_core.preflight.word_forms import check_word_forms
from reranker_core.score.allocator import keep_freed_memory
from reranker_core.score.batching import Shapes
from reranker_core.score.compiling import compile_if_faster, long_run
from reranker_core.score.engine import Engine
from reranker_core.score.products import pack_where_faster
from reranker_core.score.scorer import Scorer
from reranker_core.score.streams import streams_for
from reranker_core.score.verdicts import time_of_compiled


def load_scorer(
    config: Config | ScoringConfig, expected: dict[str, str] | None = None, pairs: float = 0
) -> Scorer:
    """Load the configured model and check it, in the first number format that passes.

    `expected`: digests of the files at the start of the run. `pairs`: number of pairs to score;
    `score.compile=auto` depends on it.

    Raises:
        ConfigError: the model or the device does not exist.
        PreflightRefused: a check that is set to `refuse` failed.

    """
    if config.score.reproducible:
        keep_order_of_sums()
    exact_float32()
    checkpoint = open_checkpoint(config.model)
    inspection = Inspection(config.preflight.checks)
    inspection.add(check_checkpoint(checkpoint, config.model, config.preflight.golden))
    device = resolve_device(config.model.device)
    if device == "cpu":
        keep_freed_memory()
    formats = number_formats(config.model.dtype, device)
    # Before the files are read for the first time, which may take minutes.
    inspection.add(check_room(checkpoint, next(iter(formats)), device))
    if expected is not None:
        inspection.add([check_same_files(checkpoint, expected)])
    failed: list[str] = []
    for dtype, reason in formats.items():
        try:
            loading = _Loading(config, checkpoint, inspection.copy(), device, dtype, pairs)
            return loading.scorer("; ".join([*failed, reason]))
        except PreflightRefused as refused:
            # Others may have failed because of these.
            names = refused.failed("numerics")
            if not names or dtype == list(formats)[-1]:
                raise
            failed.append(f"{dtype} failed {', '.join(names)}")
        # Not in the handler: there, the traceback holds the model.
        release_memory(torch.device(device))
    raise AssertionError("there is always a number format")


_ENCODERS = (families.FAMILIES["encoder"], families.FAMILIES["modular"])


@dataclass(frozen=True)
class _Loading:
    """One try, in one number format."""

    config: Config | ScoringConfig
    checkpoint: Checkpoint
    inspection: Inspection
    device: str
    dtype: str
    pairs: float

    def scorer(self, reason: str) -> Scorer:
        """Load, check, and report. `reason`: why this number format."""
        kind = families.recognise(self.checkpoint, self.config.model.family)
        family = families.FAMILIES[kind]
        pair_format = self._pair_format(family)
        loaded = self._model(family, pair_format)
        engine = self._engine(family, loaded, pair_format)
        scorer = Scorer(engine, pair_format, self.dtype)
        kinds = ("encoder",) if self.device == "cpu" else ("encoder", "llm", "classifier")
        facts = {
            "device": self.device,
            "dtype": self.dtype,
            "processor": processor(self.device),
            "dtype_reason": reason,
            "products": self._pack(scorer, engine),
            "compiled": self._compile(scorer, engine, loaded.reentrant and kind in kinds),
            "model": self.checkpoint.digests,
            "prompt": pair_format.layout,
        }
        facts |= self._check_scores(scorer, loaded)
        self._check_golden(facts)
        scorer.report = self.inspection.report(**facts)
        return scorer

    def _pair_format(self, family: Family) -> PairFormat:
        config = self.config
        with tokenizes():
            pair_format = self.inspection.loading(
                lambda: family.pair_format(self.checkpoint, config.model)
            )
        columns = config.input.columns if isinstance(config, Config) else None
        instructed = columns is not None and columns.instruction is not None
        self.inspection.add(check_prompt(self.checkpoint, config.model, pair_format, instructed))
        return pair_format

    def _model(self, family: Family, pair_format: PairFormat) -> LoadedModel:
        """The model, whose weights are checked before it is run."""
        config = self.config.model
        with computes():
            loaded = self.inspection.loading(
                lambda: family.load(self.checkpoint, config, DTYPES[self.dtype], self.device)
            )
        # Broken weights are not run: what they compute would only repeat the finding.
        words = [i for pair in ENGLISH for text in pair for i in pair_format.tokenizer.ids(text)]
        weights = [*check_weights(loaded), *check_structure(loaded, words)]
        limit, known_limit = pair_format.max_length, config.max_length is not None
        trained = body_length(self.checkpoint.folder)
        settings = [
            check_settings(loaded.model.config, family in _ENCODERS),
            check_length(loaded.model.config, limit, known_limit, trained),
        ]
        self.inspection.add([*settings, *weights, *check_tokenizer(pair_format, loaded.model)])
        return loaded

    def _engine(self, family: Family, loaded: LoadedModel, pair_format: PairFormat) -> Engine:
        score = self.config.score
        threads = torch.get_num_threads()
        streams = streams_for(threads) if self.device == "cpu" and loaded.reentrant else 1
        where = next(loaded.model.parameters()).device
        shapes = Shapes.of(
            self.device,
            pair_format.max_length,
            score,
            loaded.model,
            threads // streams,
            free_memory(where) if self.device == "cuda" else 0,
        )
        pad_id = int(pair_format.tokenizer.pad_id or 0)
        return Engine(loaded.model, family, pad_id, shapes, score.share_prefixes, streams)

    def _compile(self, scorer: Scorer, engine: Engine, known: bool) -> str:
        """Use compiled code if it is configured and faster. Returns the outcome in words."""
        wanted = self.config.score.compile
        if wanted == "auto":
            may = known and not scorer.reproducible and self.pairs > 0
            wanted = may and long_run(engine, scorer.encode(ENGLISH), self.pairs)
            earlier = time_of_compiled(engine) if wanted else None
            if earlier is not None:
                return (
                    f"not compiled: in an earlier run, compiled code needed {earlier:.2f} of the "
                    "plain model's time; score.compile=true tries it again"
                )
        if not wanted:
            return ""
        if not known:
            return "not compiled: this is only done for supported models"
        return compile_if_faster(engine, scorer.encode(lengthening(ENGLISH)))

    def _pack(self, scorer: Scorer, engine: Engine) -> str:
        """Use packed products where they are faster. Returns the outcome in words."""
        # Which kernel is faster may be measured otherwise in another replica.
        if self.device != "cpu" or scorer.reproducible:
            return ""
        threads = max(torch.get_num_threads() // engine.streams, 1)
        return pack_where_faster(engine.model, engine.shapes.max_tokens, threads)

    def _check_scores(self, scorer: Scorer, loaded: LoadedModel) -> dict[str, Any]:
        """Run the canaries. Returns their scores, for the report."""
        section = self.config.preflight
        with computes():
            numerics, english = check_numerics(scorer)
        meaning, own = check_meaning(scorer, english, section)
        table = loaded.model.get_input_embeddings().weight.detach()
        if "en" in section.languages and section.checks.meaning != "off":
            vocabulary = scorer.pair_format.tokenizer.backend.get_vocab()
            meaning.append(check_word_forms(vocabulary, table))
        self.inspection.add([*numerics, *meaning, *check_alignment(loaded, scorer)])
        return {
            "canaries": tuple(english.values.tolist()),
            "own_canaries": tuple(own.tolist()),
        }

    def _check_golden(self, facts: dict[str, Any]) -> None:
        section = self.config.preflight
        if section.golden is None:
            return
        check = check_golden(
            self.inspection.report(**facts),
            section.golden,
            section.golden_tolerance,
            section.golden_any_dtype,
            quantisation(self.checkpoint) is not None,
        )
        self.inspection.add([check])
