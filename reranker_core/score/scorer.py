"""One replica without Ray: load → preflight → score.

scorer = Scorer.load(config)
scorer.score_pairs([("how to cache", "lru_cache keeps the results of …")])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from reranker_core.checks import Inspection, Report
from reranker_core.config import Config, ScoringConfig
from reranker_core.device import (
    DTYPES,
    exact_float32,
    free_memory,
    keep_order_of_sums,
    number_formats,
    release_memory,
    resolve_device,
    torch_threads,
)
from reranker_core.encode.formats.pair_format import PairFormat
from reranker_core.encode.passages import combine
from reranker_core.encode.sequences import Int64s, TokenSequences
from reranker_core.errors import PreflightRefused
from reranker_core.models import families
from reranker_core.models.checkpoint import Checkpoint, open_checkpoint
from reranker_core.models.modules import body_length
from reranker_core.models.quantised import quantisation
from reranker_core.models.scores import Scores
from reranker_core.preflight.agreement import check_same_files
from reranker_core.preflight.canaries import ENGLISH, Pair, lengthening
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
from reranker_core.score.batching import Shapes
from reranker_core.score.compiling import compile_if_faster, long_run, may_pay
from reranker_core.score.engine import Engine
from reranker_core.score.exact import in_float32
from reranker_core.score.guard import FEW, require_few, rescue
from reranker_core.score.products import pack_where_faster
from reranker_core.score.streams import TURN, streams_for


class Scorer:
    """A loaded reranker that has passed its preflight.

    Attributes:
        report: what preflight measured.
        pair_format: how a pair becomes ids.
        max_length, largest_batch, dtype, reproducible, packed: see `preflight.probe.Probe`.
        device: where the model is.

    """

    report: Report

    def __init__(self, engine: Engine, pair_format: PairFormat, dtype: str) -> None:
        self._engine = engine
        self.device = engine.device
        self.pair_format = pair_format
        self.dtype = dtype
        self.max_length = pair_format.max_length
        self.largest_batch = engine.shapes.rows(engine.shapes.width(self.max_length))
        self.reproducible, self.packed = engine.shapes.fixed, engine.shapes.packed
        self._threads = torch.get_num_threads()

    @classmethod
    def load(
        cls,
        config: Config | ScoringConfig,
        expected: dict[str, str] | None = None,
        pairs: float = 0,
    ) -> Scorer:
        """Load the configured model and check it.

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
        formats = number_formats(config.model.dtype, device)
        # Before the files are read for the first time, which may take minutes.
        inspection.add(check_room(checkpoint, next(iter(formats)), device))
        if expected is not None:
            inspection.add([check_same_files(checkpoint, expected)])
        failed: list[str] = []
        for dtype, reason in formats.items():
            try:
                reason = "; ".join([*failed, reason])
                copy = inspection.copy()
                return cls._load(config, checkpoint, copy, device, dtype, reason, pairs)
            except PreflightRefused as refused:
                # Others may have failed because of these.
                names = refused.failed("numerics")
                if not names or dtype == list(formats)[-1]:
                    raise
                failed.append(f"{dtype} failed {', '.join(names)}")
            # Not in the handler: there, the traceback holds the model.
            release_memory(torch.device(device))
        raise AssertionError("there is always a number format")

    @classmethod
    def _load(
        cls,
        config: Config | ScoringConfig,
        checkpoint: Checkpoint,
        inspection: Inspection,
        device: str,
        dtype: str,
        reason: str,
        pairs: float,
    ) -> Scorer:
        kind = families.recognise(checkpoint, config.model.family)
        family = families.FAMILIES[kind]
        with tokenizes():
            pair_format = inspection.loading(lambda: family.pair_format(checkpoint, config.model))
        columns = config.input.columns if isinstance(config, Config) else None
        instructed = columns is not None and columns.instruction is not None
        inspection.add(check_prompt(checkpoint, config.model, pair_format, instructed))
        with computes():
            loaded = inspection.loading(
                lambda: family.load(checkpoint, config.model, DTYPES[dtype], device)
            )
        # Broken weights are not run: what they compute would only repeat the finding.
        words = [i for pair in ENGLISH for text in pair for i in pair_format.tokenizer.ids(text)]
        weights = [*check_weights(loaded), *check_structure(loaded, words)]
        limit, known_limit = pair_format.max_length, config.model.max_length is not None
        settings = [
            check_settings(loaded.model.config),
            check_length(loaded.model.config, limit, known_limit, body_length(checkpoint.folder)),
        ]
        inspection.add([*settings, *weights, *check_tokenizer(pair_format, loaded.model)])
        at_once = device == "cpu" and loaded.reentrant
        threads = torch.get_num_threads()
        streams = streams_for(threads) if at_once else 1
        where = next(loaded.model.parameters()).device
        shapes = Shapes.of(
            device,
            pair_format.max_length,
            config.score,
            loaded.model,
            threads // streams,
            free_memory(where) if device == "cuda" else 0,
        )
        pad_id = int(pair_format.tokenizer.pad_id or 0)
        engine = Engine(loaded.model, family, pad_id, shapes, config.score.share_prefixes, streams)
        scorer = cls(engine, pair_format, dtype)
        kinds = ("encoder",) if device == "cpu" else ("encoder", "llm", "classifier")
        known = loaded.reentrant and kind in kinds
        compiled = scorer._compile(config.score.compile, known, pairs)
        # Which kernel is faster may be measured otherwise in another replica.
        may_pack = device == "cpu" and not scorer.reproducible and engine.compiled is None
        tokens, share = shapes.max_tokens, max(threads // streams, 1)
        products = pack_where_faster(loaded.model, tokens, share) if may_pack else ""
        with computes():
            numerics, english = check_numerics(scorer)
        meaning, own = check_meaning(scorer, english, config.preflight)
        table = loaded.model.get_input_embeddings().weight.detach()
        if "en" in config.preflight.languages and config.preflight.checks.meaning != "off":
            meaning.append(check_word_forms(pair_format.tokenizer.backend.get_vocab(), table))
        inspection.add([*numerics, *meaning, *check_alignment(loaded, scorer)])
        facts = {
            "device": device,
            "dtype": dtype,
            "dtype_reason": reason,
            "compiled": compiled,
            "products": products,
            "model": checkpoint.digests,
            "prompt": pair_format.layout,
            "canaries": tuple(english.values.tolist()),
            "own_canaries": tuple(own.tolist()),
        }
        if config.preflight.golden:
            section, so_far = config.preflight, inspection.report(**facts)
            inspection.add(
                [
                    check_golden(
                        so_far,
                        config.preflight.golden,
                        section.golden_tolerance,
                        section.golden_any_dtype,
                        quantisation(checkpoint) is not None,
                    )
                ]
            )
        scorer.report = inspection.report(**facts)
        return scorer

    def _compile(self, wanted: bool | str, known: bool, pairs: float) -> str:
        """Use compiled code if it is configured and faster. Returns the outcome in words."""
        if wanted == "auto":
            may = known and not self.reproducible and may_pay(self._engine, self.dtype)
            wanted = may and pairs > 0 and long_run(self._engine, self._encode(ENGLISH), pairs)
        if not wanted:
            return ""
        if not known:
            return "not compiled: this is only done for supported models"
        return compile_if_faster(self._engine, self._encode(lengthening(ENGLISH)))

    def score(
        self, sequences: TokenSequences, threads: int | None = None, most: int | None = None
    ) -> Scores:
        """Scores of all sequences. Non-finite scores are computed again in float32.

        Calls from several threads run one after the other. `threads`: number of torch threads;
        None: as many as when loading. `most`: number of scores that are computed again at most.

        Raises:
            PreflightRefused: without `most`, too many scores are not finite.

        """
        with TURN, torch_threads(threads or self._threads):
            computed = self._engine.compute(sequences)
            if most is None:
                require_few(computed.values, self.dtype)
            scores = rescue(computed.values, partial(self._redo, sequences), most)
        return replace(scores, computed_tokens=computed.tokens)

    def score_warily(
        self,
        sequences: TokenSequences,
        fatal: Int64s,
        suspects: Int64s,
        before: Callable[[Int64s], None],
    ) -> Scores:
        """Like `score`, for a part that has ended a process. If a process ends again, the batch or
        sequence that caused it is known.

        `fatal` sequences are left out. `suspects` are computed one by one, after all others.
        `before` is called with the sequences of each forward, and must return before it starts.
        """
        others = np.setdiff1d(np.arange(len(sequences)), np.union1d(fatal, suspects))
        batches = [rows for rows, _ in self._engine.batches(sequences, others)]
        batches += [np.array([index]) for index in np.setdiff1d(suspects, fatal)]
        values = np.full(len(sequences), np.nan, np.float32)
        rescued = tokens = 0
        for rows in batches:
            before(rows)
            computed = self._engine.one_batch(sequences, rows)
            scores = rescue(computed.values, self._redo_of(sequences, rows))
            if scores.values.ndim > values.ndim:  # a sequence has k of them
                values = np.tile(values[:, None], scores.values.shape[1])
            values[rows] = scores.values
            rescued += scores.rescued
            tokens += computed.tokens
        return Scores(values, rescued, fatal, tokens)

    def on_batch(self, call: Callable[[], None]) -> None:
        """Call `call` after each forward."""
        self._engine.on_batch = call

    def score_pairs(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Float32 scores of (query, passage) texts, shape (n,); NaN if a score is not finite. With
        several cutoff layers: shape (n, layers).
        """
        return self._scored(pairs).values

    def score_texts(self, pairs: Sequence[Pair], threads: int | None = None) -> Scores:
        """Scores as in the run, in batches, with the guard; those of the last cutoff layer."""
        scores = self._scored(pairs, threads, most=FEW)
        return replace(scores, values=_last(scores.values))

    def alone(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Score each pair alone, without padding, in the number format of the run."""
        return self._one_by_one(pairs)

    def reference(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Score each pair alone, without padding, in float32."""
        with in_float32(self._engine.model):
            return self._one_by_one(pairs)

    def read_by(self, layer: torch.nn.Module, pairs: Sequence[Pair]) -> np.ndarray:
        """The input of a layer of the model for each pair alone, shape (n, width).

        If the layer reads all tokens, this is the input for the last token.
        """
        read: list[torch.Tensor] = []
        hook = layer.register_forward_pre_hook(
            lambda _, inputs: read.append(inputs[0].flatten(0, -2)[-1].float())
        )
        try:
            self.alone(pairs)
        finally:
            hook.remove()
        return torch.stack(read).cpu().numpy()

    def _one_by_one(self, pairs: Sequence[Pair]) -> np.ndarray:
        sequences = self._encode(pairs)
        scores = [self._engine.alone(sequences, row) for row in range(len(sequences))]
        return _last(self._by_pair(np.array(scores, np.float32), sequences))

    def _scored(
        self, pairs: Sequence[Pair], threads: int | None = None, most: int | None = None
    ) -> Scores:
        sequences = self._encode(pairs)
        scores = self.score(sequences, threads, most)
        return replace(scores, values=self._by_pair(scores.values, sequences))

    def _by_pair(self, values: np.ndarray, sequences: TokenSequences) -> np.ndarray:
        """The score, or the k scores, of each pair from those of its sequences."""
        return combine(values, sequences.chunks, self.pair_format.model)

    def _encode(self, pairs: Sequence[Pair]) -> TokenSequences:
        queries = {query: index for index, query in enumerate(dict.fromkeys(q for q, _ in pairs))}
        passages = {text: index for index, text in enumerate(dict.fromkeys(p for _, p in pairs))}
        query_of = np.array([queries[query] for query, _ in pairs], np.int64)
        passage_of = np.array([passages[passage] for _, passage in pairs], np.int64)
        return self.pair_format.encode(list(queries), list(passages), query_of, passage_of)

    def _redo_of(
        self, sequences: TokenSequences, rows: Int64s
    ) -> Callable[[Int64s], Iterator[np.ndarray]]:
        return lambda some: self._redo(sequences, rows[some])

    def _redo(self, sequences: TokenSequences, rows: Int64s) -> Iterator[np.ndarray]:
        """The scores of these sequences in float32."""
        with in_float32(self._engine.model):
            for row in rows:
                yield self._engine.alone(sequences, int(row))
                self._engine.on_batch()  # on a CPU, one takes seconds


def _last(values: np.ndarray) -> np.ndarray:
    """The last of the k scores of each pair."""
    return values if values.ndim == 1 else values[:, -1]
