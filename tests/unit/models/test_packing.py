"""Packed sequences have the scores that they have alone and padded. tests/cuda shows it on GPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch._dynamo.utils import counters

from benchmarks.shapes import natural_sequences, scoring_model
from reranker_core.encode.sequences import Ragged, TokenSequences
from reranker_core.models.families import FAMILIES
from reranker_core.models.networks import packing
from reranker_core.models.networks.last_token import LastToken
from reranker_core.score.batching import Shapes
from reranker_core.score.compiling import compile_by_layer
from reranker_core.score.engine import Engine
from tests.marks import more

WIDTH = {
    "vocab_size": 1000,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.3,
    "num_labels": 1,
}
GROUPED = {"num_key_value_heads": 2}
ENCODERS = {
    "bert": {"pad_token_id": 0},
    "xlm-roberta": {"pad_token_id": 1},
    "roberta": {"pad_token_id": 1},
    "camembert": {"pad_token_id": 1},
    "electra": {"embedding_size": 16},
    "ernie": {},
}
DECODERS = {
    "gemma": {"num_key_value_heads": 1, "head_dim": 8},
    "qwen3": GROUPED | {"head_dim": 8},
    "qwen2": GROUPED,
    "llama": GROUPED,
    "mistral": GROUPED | {"sliding_window": None},
}


def model_of(kind: str, head: str, **more: Any) -> Any:
    torch.manual_seed(0)
    settings = WIDTH | (ENCODERS | DECODERS)[kind] | more
    config = transformers.AutoConfig.for_model(kind, **settings)
    return getattr(transformers, f"AutoModelFor{head}").from_config(config).eval()


def scores(
    model: Any,
    family: str,
    sequences: TokenSequences,
    packed: bool,
    share: bool = True,
    fill: int = 1,
):
    shapes = Shapes(3000, 512, 8, packed=packed, fill=fill)
    return Engine(model, FAMILIES[family], 0, shapes, share).compute(sequences)


def sharing(groups: int) -> TokenSequences:
    """Sequences in groups of five that have two thirds of the shortest one in common."""
    found = natural_sequences(5 * groups, WIDTH["vocab_size"])
    values, lengths, starts = found.tokens.values, found.tokens.lengths, found.tokens.starts
    for first in range(0, len(found), 5):
        rows = range(first, first + 5)
        common = int(lengths[first : first + 5].min() * 2 // 3)
        found.passage_starts[rows] = common
        for row in rows:
            values[starts[row] : starts[row] + common] = values[starts[first] :][:common]
    return found


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_gives_packed_sequences_the_scores_of_padded_ones(kind: str):
    model = scoring_model(model_of(kind, "SequenceClassification"), "encoder")
    sequences = natural_sequences(100, WIDTH["vocab_size"])
    sequences.tokens.values[7::50] = model.config.pad_token_id or 0  # in the middle of a text
    expected = scores(model, "encoder", sequences, packed=False)
    packing.pack_if_same(model, FAMILIES["encoder"].forward, True)
    assert model.packs
    found = scores(model, "encoder", sequences, packed=True)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-4, rtol=1e-4)
    assert found.tokens == sequences.tokens.lengths.sum() < expected.tokens
    filled = scores(model, "encoder", sequences, packed=True, fill=32)
    np.testing.assert_allclose(filled.values, expected.values, atol=1e-4, rtol=1e-4)
    assert filled.tokens > found.tokens
    assert filled.tokens % 32 == 0


@pytest.mark.parametrize("kind", DECODERS)
def test_a_language_model_does_with_and_without_shared_prefixes(kind: str):
    model, sequences = scoring_model(model_of(kind, "CausalLM"), "llm"), sharing(12)
    expected = scores(model, "llm", sequences, packed=False, share=False).values
    packing.pack_if_same(model, FAMILIES["llm"].forward, True)
    assert model.packs
    whole = scores(model, "llm", sequences, packed=True, share=False)
    shared = scores(model, "llm", sequences, packed=True)
    filled = scores(model, "llm", sequences, packed=True, fill=32)
    for found in (whole, shared, filled):
        np.testing.assert_allclose(found.values, expected, atol=1e-4, rtol=1e-4)
    assert shared.tokens < 0.8 * whole.tokens == 0.8 * sequences.tokens.lengths.sum()


@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
def test_a_window_of_attention_holds_in_packed_sequences_and_alone(kind: str):
    more = {"use_sliding_window": True, "max_window_layers": 0} if kind == "qwen2" else {}
    windowed = scoring_model(model_of(kind, "CausalLM", sliding_window=16, **more), "llm")
    sequences = natural_sequences(20, WIDTH["vocab_size"])
    expected = scores(windowed, "llm", sequences, packed=False).values
    everything = scoring_model(model_of(kind, "CausalLM", sliding_window=None), "llm")
    assert np.abs(scores(everything, "llm", sequences, packed=False).values - expected).max() > 0.1
    packing.pack_if_same(windowed, FAMILIES["llm"].forward, True)
    assert windowed.packs
    found = scores(windowed, "llm", sequences, packed=True).values
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)
    engine = Engine(windowed, FAMILIES["llm"], 0, Shapes(3000, 512, packed=True))
    alone = [engine.alone(sequences, row) for row in range(5)]
    np.testing.assert_allclose(alone, expected[:5], atol=1e-4, rtol=1e-4)


def test_a_classifier_with_a_decoder_does():
    whole = model_of("qwen3", "SequenceClassification")
    model, sequences = LastToken(whole, None), natural_sequences(60, WIDTH["vocab_size"])
    expected = scores(model, "classifier", sequences, packed=False).values
    packing.pack_if_same(model, FAMILIES["classifier"].forward, True)
    assert model.packs
    found = scores(model, "classifier", sequences, packed=True).values
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


def test_one_sequence_longer_than_a_batch_is_computed_alone():
    model = scoring_model(model_of("bert", "SequenceClassification"), "encoder")
    lengths = np.array([400, 20, 300, 20])
    ids = (np.arange(lengths.sum()) % 900 + 5).astype(np.int32)
    sequences = TokenSequences.one_each(Ragged(ids, lengths), np.zeros(4, np.int32))
    packing.pack_if_same(model, FAMILIES["encoder"].forward, True)
    engine = Engine(model, FAMILIES["encoder"], 0, Shapes(100, 512, packed=True))
    assert [rows.tolist() for rows, _ in engine.batches(sequences)] == [[0], [2], [1, 3]]
    alone = [engine.alone(sequences, row) for row in range(4)]
    np.testing.assert_allclose(engine.compute(sequences).values, alone, atol=1e-5)


def test_a_model_whose_scores_would_change_is_not_packed(monkeypatch: pytest.MonkeyPatch):
    model = scoring_model(model_of("bert", "SequenceClassification"), "encoder")
    monkeypatch.setattr(packing, "packed_positions", lambda _, ids, __: torch.ones_like(ids))
    packing.pack_if_same(model, FAMILIES["encoder"].forward, True)
    assert not model.packs
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("kind", ["bert", more("qwen3")])
def test_all_layers_share_compiled_code(kind: str):
    causal = kind in DECODERS
    family, head = ("llm", "CausalLM") if causal else ("encoder", "SequenceClassification")
    model, sequences = scoring_model(model_of(kind, head), family), sharing(12)
    packing.pack_if_same(model, FAMILIES[family].forward, True)
    engine = Engine(model, FAMILIES[family], 0, Shapes(3000, 512, packed=True))
    expected = engine.compute(sequences).values
    torch._dynamo.reset()
    counters.clear()
    engine.compiled = compile_by_layer(model)
    np.testing.assert_allclose(engine.compute(sequences).values, expected, atol=1e-4)
    # One for all layers but the last, and one for the last.
    assert counters["stats"]["unique_graphs"] == 2
    assert not counters["graph_break"]
    engine.compute(sharing(20))  # other shapes
    assert counters["stats"]["unique_graphs"] == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_number_format_is_packed_on_a_cpu_and_half_precision_on_a_gpu(dtype: torch.dtype):
    assert packing.has_kernel("cpu", dtype)
    assert packing.has_kernel("cuda", dtype) == (dtype != torch.float32)
    assert not packing.has_kernel("mps", dtype)
