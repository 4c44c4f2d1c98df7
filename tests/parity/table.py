"""`python -m tests.parity.table` measures each family against its oracles: docs/parity.md."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from sentence_transformers import CrossEncoder

from tests import (
    checkpoints,
    decoder_checkpoints,
    modular_checkpoints,
    native_checkpoints,
)
from tests.parity import oracles
from tests.parity import test_encoder_parity as encoders
from tests.parity import test_own_words_parity as words
from tests.parity.common import deviation, encode, load, sample_pairs
from tests.quantised_checkpoints import compressed
from tests.unit.models import test_adapter as adapters

MOST, QUERY_MOST = 64, 40
FLAG_CODE = "FlagEmbedding's modeling code¹, float64"
PLAIN = "transformers, float64"
OWN_CLASS = "its own class, float64"
LONGEST_FIRST = "model.truncation=longest_first"
TARGET = Path(__file__).parents[2] / "docs" / "parity.md"


class Row(NamedTuple):
    """One comparison: relative difference as in `common.deviation`, over so many pairs."""

    family: str
    checkpoint: str
    oracle: str
    pairs: int
    difference: float


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        makers = (encoder_rows, head_rows, native_rows, llm_rows, other_rows, adapter_rows)
        rows = [row for maker in makers for row in maker(Path(folder))]
    lines = [
        f"| {r.family} | {r.checkpoint} | {r.oracle} | {r.pairs} | {r.difference:.1e} |\n"
        for r in rows
    ]
    head = HEAD.format(torch=torch.__version__, transformers=transformers.__version__)
    TARGET.write_text("".join([head, *lines, FOOT]))
    print(TARGET.read_text())


def encoder_rows(root: Path) -> Iterator[Row]:
    """Encoders: float64, FlagReranker where it keeps the ids, CrossEncoder."""
    pairs = sample_pairs(MOST, QUERY_MOST)
    for name in ("bert", "xlm_roberta", "modernbert"):
        folder = getattr(checkpoints, name)(root / name)
        scorer = load(folder, MOST, QUERY_MOST)
        expected = encoders.oracle(folder).scores(pairs, MOST, QUERY_MOST)
        yield row("encoder", name, PLAIN, scorer.score_pairs(pairs), expected)
        kept = [
            pair
            for pair in pairs
            if encoders.flag_reranker_ids(folder, pair, MOST, QUERY_MOST)
            == encoders.oracle(folder).join(pair, MOST, QUERY_MOST).ids
        ]
        expected = encoders.flag_reranker(folder).compute_score(
            kept, max_length=MOST, query_max_length=QUERY_MOST
        )
        yield row("encoder", name, "FlagReranker²", scorer.score_pairs(kept), expected)
        if name != "modernbert":  # whose local attention CrossEncoder's padding does not change
            longest_first = load(folder, MOST, QUERY_MOST, "model.truncation=longest_first")
            reference = CrossEncoder(
                str(folder), device="cpu", max_length=MOST, activation_fn=torch.nn.Identity()
            )
            expected = reference.predict(pairs, show_progress_bar=False)
            yield row("encoder", name, "CrossEncoder", longest_first.score_pairs(pairs), expected)
    folder = checkpoints.deberta(root / "deberta")
    long = encoders.long_pairs()
    for what, some, most, query_most in (
        ("deberta", pairs, MOST, QUERY_MOST),
        ("deberta, up to 700 tokens", long, encoders.LONG, None),
    ):
        expected = encoders.oracle(folder).scores(some, most, query_most)
        scores = load(folder, most, query_most).score_pairs(some)
        yield row("encoder", what, PLAIN, scores, expected)
        expected = cross_encoder(folder, most).predict(some, show_progress_bar=False)
        scores = load(folder, most, query_most, LONGEST_FIRST).score_pairs(some)
        yield row("encoder", what, "CrossEncoder", scores, expected)
    folder = compressed(root / "bert", root / "4 bits", "W4A16")
    library = encoders.Oracle(folder)
    scores = load(folder, MOST, QUERY_MOST).score_pairs(pairs)
    expected = library.scores(pairs, MOST, QUERY_MOST)
    yield row("encoder, 4 bits", "bert", "compressed-tensors, float64", scores, expected)


def head_rows(root: Path) -> Iterator[Row]:
    """Heads in modules, and heads with several labels, against CrossEncoder."""
    pairs = sample_pairs(MOST, QUERY_MOST)
    for name in ("ettin", "averaged", "joined_poolings"):
        folder = getattr(modular_checkpoints, name)(root / name)
        scores = load(folder, MOST, QUERY_MOST, LONGEST_FIRST).score_pairs(pairs)
        expected = cross_encoder(folder).predict(pairs, show_progress_bar=False, batch_size=1)
        yield row("modular", name, "CrossEncoder", scores, expected)
    folder = checkpoints.bert_labels(root / "labels", "not_relevant", "relevant")
    scores = load(folder, MOST, QUERY_MOST, LONGEST_FIRST).score_pairs(pairs)
    logits = cross_encoder(folder).predict(pairs, show_progress_bar=False)
    yield row("encoder, two labels", "bert", "CrossEncoder", scores, logits[:, 1] - logits[:, 0])


def cross_encoder(folder: Path, most: int = MOST) -> CrossEncoder:
    """Raw scores of pairs of at most `most` ids."""
    plain = torch.nn.Identity()
    return CrossEncoder(str(folder), device="cpu", max_length=most, activation_fn=plain)


def native_rows(root: Path) -> Iterator[Row]:
    """Checkpoints whose own code is replaced by classes of transformers."""
    pairs = sample_pairs(MOST, QUERY_MOST)
    folder = native_checkpoints.jina(root / "jina")
    usual = checkpoints.xlm_roberta(root / "usual")
    scores = load(folder, MOST, QUERY_MOST).score_pairs(pairs)
    expected = encoders.oracle(usual).scores(pairs, MOST, QUERY_MOST)
    yield row("encoder, jina-reranker-v2", "xlm_roberta", PLAIN, scores, expected)
    folder = native_checkpoints.gte(root / "gte")
    scorer = load(folder, MOST, QUERY_MOST)
    model = native_checkpoints.gte_with_own_frequencies(folder)
    with torch.inference_mode():
        expected = [float(model(torch.tensor([ids])).logits[0, 0]) for ids in encode(scorer, pairs)]
    scores = scorer.score_pairs(pairs)
    yield row("encoder, gte-multilingual", "gte", f"{PLAIN}³", scores, expected)


def llm_rows(root: Path) -> Iterator[Row]:
    """Language models: FlagLLMReranker, float64, the authors' way to join ids."""
    pairs = sample_pairs(MOST, QUERY_MOST)
    for name in ("gemma", "gemma_untied", "gemma2", "llama"):
        folder = getattr(decoder_checkpoints, name)(root / name)
        scores = load(folder, MOST, QUERY_MOST, "model.template=bge-gemma").score_pairs(pairs)
        expected = oracles.flag_llm_scores(folder, pairs, MOST, QUERY_MOST)
        yield row("llm, bge-gemma", name, "FlagLLMReranker", scores, expected)
        plain = oracles.float64(folder)
        ids = [oracles.flag_llm(plain.tokenizer, *pair, MOST, QUERY_MOST) for pair in pairs]
        yes = oracles.ids_of(plain.tokenizer, "Yes")[0]
        yield row("llm, bge-gemma", name, PLAIN, scores, plain.scores(ids, {yes: 1.0}))
    whole = [pair for pair in pairs if max(map(len, pair)) < 500]
    for template, name, join in (
        ("qwen3-reranker", "qwen3", oracles.qwen3_card),
        ("mxbai-rerank-v2", "qwen2", oracles.mxbai),
        ("zerank", "qwen3", oracles.zerank),
        ("contextual-rerank", "qwen3", oracles.contextual),
    ):
        folder = root / name
        if not folder.exists():
            getattr(decoder_checkpoints, name)(folder)
        scorer = load(folder, 512, 300, f"model.template={template}")
        scores = scorer.score_pairs(whole)
        plain = oracles.float64(folder)
        ids = [join(plain.tokenizer, *pair, 512, 300) for pair in whole]
        answers = {answer.ids[0]: answer.weight for answer in scorer.pair_format.answers}
        yield row(f"llm, {template}", name, PLAIN, scores, plain.scores(ids, answers))
        if template == "qwen3-reranker":
            expected = oracles.cross_encoder_scores(folder, whole)
            yield row(f"llm, {template}", name, "CrossEncoder", scores, expected)
    short = words.short_pairs()
    for what, chat, answers in (
        ("chat template and answers of its own", words.PLAIN, ("true", "false")),
        ("files as zerank", words.ZERANK, ("Yes", None)),
    ):
        folder = words.saved(root / "qwen3", root / what, chat, *answers)
        scores = load(folder, 600, None).score_pairs(short)
        expected = words.cross_encoder(folder, short)
        yield row("llm, of the checkpoint", f"qwen3, {what}", "CrossEncoder", scores, expected)


def other_rows(root: Path) -> Iterator[Row]:
    """Families with a head a layer, and encoder-decoders."""
    pairs = sample_pairs(MOST, QUERY_MOST)
    folder = decoder_checkpoints.minicpm_layerwise(root / "minicpm")
    for cutoffs in ([2], [6], [2, 3, 6]):
        scores = load(folder, MOST, QUERY_MOST, f"model.cutoff_layer={cutoffs}").score_pairs(pairs)
        expected = oracles.layerwise_scores(folder, pairs, MOST, QUERY_MOST, cutoffs)
        what = f"minicpm, {_listed(cutoffs)} of 6"
        yield row("layerwise", what, FLAG_CODE, scores.reshape(expected.shape), expected)
    folder = decoder_checkpoints.gemma2_lightweight(root / "lightweight")
    for cutoffs, layers, ratio in (
        ([6], [], 1),
        ([5], [2, 4], 2),
        ([6], [1, 3], 4),
        ([3, 4, 6], [2, 4], 2),
    ):
        settings = (
            f"model.cutoff_layer={cutoffs}",
            f"model.compress_layers={layers}",
            f"model.compress_ratio={ratio}",
        )
        scores = load(folder, MOST, QUERY_MOST, *settings).score_pairs(pairs)
        expected = oracles.lightweight_scores(
            folder, pairs, MOST, QUERY_MOST, cutoffs, layers, ratio
        )
        what = f"gemma2, {_listed(cutoffs)}, layers {layers}, ratio {ratio}"
        yield row("lightweight", what, FLAG_CODE, scores.reshape(expected.shape), expected)
    whole = [pair for pair in pairs if max(map(len, pair)) < 500]
    for tied in (True, False):
        name = f"t5, {'tied' if tied else 'untied'}"
        folder = decoder_checkpoints.monot5(root / name, tied)
        scores = load(folder, 512, 400).score_pairs(whole)
        yield row("seq2seq", name, PLAIN, scores, oracles.monot5_scores(folder, whole))
    folder = decoder_checkpoints.mt5(root / "mt5")
    for template in oracles.MT5_ANSWERS:
        scores = load(folder, 512, 400, f"model.template={template}").score_pairs(whole)
        expected = oracles.mt5_scores(folder, whole, template)
        yield row(f"seq2seq, {template}", "mt5", PLAIN, scores, expected)
    folder = root / "t5, tied"
    scores = load(folder, 512, 400, "model.template=ptt5-msmarco").score_pairs(whole)
    expected = oracles.monot5_scores(folder, whole, answers=oracles.PTT5_ANSWERS)
    yield row("seq2seq, ptt5-msmarco", "t5, tied", PLAIN, scores, expected)
    for name, join in (("qwen3_classifier", oracles.qwen3_card), ("nemotron", oracles.nemotron)):
        folder = getattr(decoder_checkpoints, name)(root / name)
        scores = load(folder, 512, 300, "model.trust_remote_code=true").score_pairs(whole)
        plain = oracles.classifier64(folder)
        ids = [join(plain.tokenizer, *pair, 512, 300) for pair in whole]
        yield row("classifier", name, OWN_CLASS, scores, plain.scores(ids))


def adapter_rows(root: Path) -> Iterator[Row]:
    """LoRA adapters, merged, against peft's model, which adds them to each layer's output."""
    for case, (name, *_) in adapters.CASES.items():
        maker = checkpoints if hasattr(checkpoints, name) else decoder_checkpoints
        base = root / name
        if not base.exists():
            getattr(maker, name)(base)
        scores, expected = adapters.compared(case, base, root / f"adapter of {name}, {case}")
        yield row("LoRA adapter", f"{name}, {case}", "peft, not merged", scores, expected)


def _listed(cutoffs: list[int]) -> str:
    return f"cutoff{'s' * (len(cutoffs) > 1)} {', '.join(map(str, cutoffs))}"


def row(
    family: str, checkpoint: str, oracle: str, scores: Iterable[float], expected: Iterable[float]
) -> Row:
    """Measured."""
    return Row(family, checkpoint, oracle, len(list(expected)), deviation(scores, expected))


HEAD = """# Parity

Written by `make parity` with torch {torch} and transformers {transformers}, on
the CPU, in float32, and checked in CI by `tests/parity`, with a tolerance of 1e-5 of the score
plus 1e-5 of the scores' spread. The checkpoints are tiny. They have the real architectures and
random weights, so that no test needs a network. They cover tied and untied embeddings, grouped
queries, soft caps, a BOS that is also the PAD, and tokenizers that pad left or right. The pairs
have different lengths; some are empty, too long, multilingual, equal, or exactly at a truncation
limit.

The table shows the largest difference. It is relative to the score, or to the standard deviation
of the scores if that is larger.

| family | checkpoint | reference | pairs | largest difference |
|---|---|---|---|---|
"""
FOOT = """
¹ FlagEmbedding 1.4.2's classes for these need transformers 4.46. Its modeling code is run on
transformers 5 with the changes in `tests/flag_models.py`, which do not affect its arithmetic.

² Only for the pairs whose ids FlagReranker keeps. On transformers 5 it decodes the ids and
tokenizes the text again.

³ With the rotary frequencies computed by the formula of the checkpoint's own code.
"""

if __name__ == "__main__":
    main()
