"""Decoders with a classification head: known by what they are, scored by their last token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from reranker_core.models import classifier, encoder
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.lengths import longest_input
from reranker_core.score.loading import load_scorer
from tests import decoder_checkpoints
from tests.decoder_checkpoints import change
from tests.parity.common import assert_same, encode, load, sample_pairs
from tests.tables import config

TEMPLATE = 'model.template={segments: ["Query: {query} Document: {passage}"]}'


def said(architecture: str, model_type: str | None, **settings: Any) -> Checkpoint:
    named = {"architectures": [architecture], "model_type": model_type}
    return Checkpoint(Path("nowhere"), "x", None, settings | named, ())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Nemotron", "nemotron"),
        ("Glm4", "glm4"),
        ("Llama", "llama"),
        ("GPTNeoX", "gpt_neox"),
        ("CohereCompassText", "cohere_compass_text"),
        ("ModernBertDecoder", "modernbert-decoder"),
        ("BioGpt", "biogpt"),
        ("Mpt", "mpt"),
        ("LlamaBidirectional", "llama_bidirectional"),
    ],
)
def test_decoders_are_known(name: str, kind: str):
    found = said(f"{name}ForSequenceClassification", kind)
    assert classifier.fits(found)
    assert not encoder.fits(found)


CAUSAL, MASKED = {"AutoModelForCausalLM": "x.Y"}, {"AutoModelForMaskedLM": "x.Y"}


@pytest.mark.parametrize(
    ("name", "kind", "settings", "decodes"),
    [
        ("MiniCPM", "minicpm", {"rms_norm_eps": 1e-5, "num_key_value_heads": 36}, True),
        ("InternLM2", "internlm2", {"num_key_value_heads": 8}, True),
        ("Baichuan", "baichuan", {"rms_norm_eps": 1e-6}, True),
        ("ChatGLM", "chatglm", {"auto_map": CAUSAL | {"AutoModel": "x.Z"}}, True),
        ("Exaone", "exaone", {"num_key_value_heads": 8, "auto_map": CAUSAL}, True),
        ("NeoBERT", "neobert", {"rms_norm_eps": 1e-5, "auto_map": MASKED}, False),
        ("NomicBert", "nomic_bert_of_old", {"layer_norm_eps": 1e-5}, False),
        # A type that transformers knows is what transformers says.
        ("Bert", "bert", {"num_key_value_heads": 8}, False),
    ],
)
def test_types_that_transformers_does_not_know_are_told_by_their_settings(
    name: str, kind: str, settings: dict[str, Any], decodes: bool
):
    found = said(f"{name}ForSequenceClassification", kind, **settings)
    assert classifier.fits(found) == decodes
    assert encoder.fits(found) != decodes


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Bert", "bert"),
        ("XLMRoberta", "xlm-roberta"),
        ("ModernBert", "modernbert"),
        ("Electra", "electra"),
        ("BigBird", "big_bird"),
        ("XLNet", "xlnet"),
        ("DebertaV2", "deberta-v2"),
        ("New", "new"),
        ("Own", None),
    ],
)
def test_encoders_that_can_be_set_to_write_are_none(name: str, kind: str | None):
    found = said(f"{name}ForSequenceClassification", kind)
    assert encoder.fits(found)
    assert not classifier.fits(found)


def made(
    folder: Path, name: str, tokenizer: Any, kind: str = "SequenceClassification", **settings: Any
) -> Path:
    ids = {
        f"{key}_token_id": getattr(tokenizer, f"{key}_token_id") for key in ("pad", "bos", "eos")
    }
    found = getattr(transformers, f"{name}Config")(
        **decoder_checkpoints._WIDTH | settings, vocab_size=len(tokenizer), **ids, num_labels=1
    )
    return decoder_checkpoints.save(
        folder, getattr(transformers, f"{name}For{kind}"), found, tokenizer
    )


KINDS = {
    "Nemotron": {"num_key_value_heads": 2},
    "Glm": {"num_key_value_heads": 2, "head_dim": 8},
    "ModernBertDecoder": {},
    "GPT2": {"n_positions": 700, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "Mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2},
}


@pytest.mark.parametrize("name", KINDS)
def test_scores_equal_the_stock_class(tmp_path: Path, name: str):
    folder = made(tmp_path, name, decoder_checkpoints.sentence_pieces("right"), **KINDS[name])
    pairs = sample_pairs(64, 40)[:30]
    scorer = load(folder, 500, None, TEMPLATE)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    model.config.pad_token_id = -1  # a pad token in a text is none
    with torch.inference_mode():
        expected = [float(model(torch.tensor([ids])).logits[0, 0]) for ids in encode(scorer, pairs)]
    assert_same(scorer.score_pairs(pairs), expected)


@pytest.mark.parametrize(("in_tokenizer", "in_config"), [(None, None), ("<eos>", 3), (None, 0)])
def test_no_pad_token_is_needed(tmp_path: Path, in_tokenizer: str | None, in_config: int | None):
    tokenizer = decoder_checkpoints.sentence_pieces("right")
    folder = made(tmp_path, "Llama", tokenizer, num_key_value_heads=2)
    pairs = sample_pairs(64, 40)[:20]
    before = load(folder, 300, None, TEMPLATE).score_pairs(pairs)
    load.cache_clear()
    change(folder, "config.json", pad_token_id=in_config)
    change(folder, "tokenizer_config.json", pad_token=in_tokenizer)
    off = ("preflight.checks.meaning=off", "model.dtype=float32", "model.device=cpu")
    settings = config("in", "out", *off, TEMPLATE, "model.max_length=300", model=folder)
    assert np.array_equal(load_scorer(settings).score_pairs(pairs), before)


ANSWERS = TEMPLATE[:-1] + ', answers: {"Yes": 1.0, "No": -1.0}}'


@pytest.mark.parametrize("name", ["Falcon", "OPT"])
def test_classes_that_cannot_continue_a_prefix_read_whole_sequences(tmp_path: Path, name: str):
    settings = {"OPT": {"ffn_dim": 64, "word_embed_proj_dim": 32}}.get(name, {})
    tokenizer = decoder_checkpoints.sentence_pieces("right")
    folder = made(tmp_path, name, tokenizer, kind="CausalLM", **settings)
    pairs = [("a query that comes again", passage) for _, passage in sample_pairs(64, 40)[:10]]
    scorer = load(folder, 500, None, ANSWERS)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    answers = {answer.ids[0]: answer.weight for answer in scorer.pair_format.answers}
    expected = []
    with torch.inference_mode():
        for ids in encode(scorer, pairs):
            logits = model(torch.tensor([ids])).logits[0, -1]
            expected.append(sum(float(logits[i]) * weight for i, weight in answers.items()))
    assert_same(scorer.score_pairs(pairs), expected)


class Unlimited:
    model_max_length = int(1e30)


@pytest.mark.parametrize(
    ("settings", "longest"),
    [
        ({"model_type": "deberta-v2", "max_position_embeddings": 512}, 512),
        (
            {
                "model_type": "deberta-v2",
                "max_position_embeddings": 512,
                "position_biased_input": False,
            },
            1 << 20,
        ),
        ({"model_type": "gpt2", "n_positions": 1024}, 1024),
        ({"model_type": "t5", "n_positions": 512}, 1 << 20),
        ({"model_type": "x", "text_config": {"max_position_embeddings": 512}}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "bert", "max_position_embeddings": None}, 1 << 20),
    ],
)
def test_the_longest_input_is_what_the_model_has_positions_for(
    settings: dict[str, Any], longest: int
):
    found = Checkpoint(Path("nowhere"), "x", None, settings, ())
    assert longest_input(found, Unlimited()) == longest
