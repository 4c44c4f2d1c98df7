"""Which template a checkpoint gets, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from reranker_core.config import ModelConfig, Template, load_config
from reranker_core.encode.formats.prompt import PromptFormat
from reranker_core.encode.sequences import TokenSequences
from reranker_core.errors import ConfigError
from reranker_core.models import families, llm
from reranker_core.models.checkpoint import Checkpoint, open_checkpoint
from reranker_core.models.networks.gemma2 import compress, compressed_lengths
from reranker_core.models.templates import resolve_template
from reranker_core.preflight.prompt import check_template
from tests.decoder_checkpoints import LONGEST, change


def checkpoint(name: str, kind: str, architecture: str) -> Checkpoint:
    config = {"model_type": kind, "architectures": [architecture]}
    return Checkpoint(Path("nowhere"), name, None, config, ())


def pair_format(folder: Path, **settings: Any) -> PromptFormat:
    model = ModelConfig(path=str(folder), **settings)
    return llm.pair_format(open_checkpoint(model), model)


def ids(found: PromptFormat, *pairs: tuple[str, str]) -> list[list[int]]:
    index = np.arange(len(pairs))
    queries, passages = map(list, zip(*pairs, strict=True))
    tokens = found.encode(queries, passages, index, index).tokens
    return [run.tolist() for run in np.split(tokens.values, np.cumsum(tokens.lengths)[:-1])]


@pytest.mark.parametrize(
    ("name", "kind", "template"),
    [
        ("BAAI/bge-reranker-v2-gemma", "gemma", "bge-gemma"),
        ("Qwen/Qwen3-Reranker-0.6B", "qwen3", "qwen3-reranker"),
        ("/models/models--zeroentropy--zerank-1/snapshots/0a1b2c", "qwen3", "zerank"),
        ("ContextualAI/ctxl-rerank-v2-instruct-multilingual-1b", "qwen3", "contextual-rerank"),
        ("mixedbread-ai/mxbai-rerank-large-v2", "qwen2", "mxbai-rerank-v2"),
        ("./run-7/checkpoint-900", "gemma", "bge-gemma"),
        ("./run-7/checkpoint-900", "qwen3", "qwen3-reranker"),
        ("./run-7/checkpoint-900", "mistral", "bge-gemma"),
    ],
)
def test_the_template_comes_from_the_name_then_from_the_type(name: str, kind: str, template: str):
    found = families.choose(checkpoint(name, kind, "SomeForCausalLM"), ModelConfig(path=name))
    assert found[:2] == ("llm", template)
    assert template in found[2]


def test_what_is_configured_wins(gemma: Path):
    found = checkpoint("Qwen/Qwen3-Reranker-0.6B", "qwen3", "Qwen3ForCausalLM")
    model = ModelConfig(path="x", template="zerank", family="llm")
    family, template, why = families.choose(found, model)
    assert (family, template) == ("llm", "zerank")
    assert why.endswith("template zerank (as configured)")


@pytest.mark.parametrize(
    ("architecture", "fits"),
    [
        ("GemmaForCausalLM", True),
        ("GPT2LMHeadModel", True),
        ("Qwen3Model", False),
        ("Gemma3TextModel", False),
        ("Qwen3ForSequenceClassification", False),
        ("T5ForConditionalGeneration", False),
        ("", False),
    ],
)
def test_only_models_with_a_vocabulary_head_are_language_models(architecture: str, fits: bool):
    assert llm.fits(checkpoint("x", "x", architecture)) is fits


def test_an_own_template_comes_from_yaml(gemma: Path, tmp_path: Path):
    path = tmp_path / "job.yaml"
    path.write_text(
        f"""
input: {{path: none}}
output: {{path: none}}
model:
  path: {gemma}
  template:
    segments: ["{{prompt}}", "q: {{query}} {{instruction}}", " d: {{passage}}", "?"]
    prompt: "Relevant?"
    answers: {{"Yes": 1, "No": -0.5}}
"""
    )
    model = load_config(path).model
    found = llm.pair_format(open_checkpoint(model), model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(gemma)
    texts = ["Relevant?", "q: how ", " d: so", "?"]
    expected = [i for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    assert ids(found, ("how", "so")) == [expected]
    assert [(answer.text, answer.weight) for answer in found.answers] == [("Yes", 1), ("No", -0.5)]
    assert found.layout == "Relevant?q: {query}  d: {passage}?"


def test_texts_that_look_like_placeholders_stay_texts(gemma: Path):
    plain = pair_format(gemma, template="bge-gemma")
    [odd] = ids(plain, ("{passage} {prompt}", "{query}"))
    decoded = plain.tokenizer.decode(odd)
    assert "A: {passage} {prompt}\nB: {query}\n" in decoded


def test_prompt_and_instruction_are_replaced_and_recorded(qwen3: Path, gemma: Path):
    asked = pair_format(gemma, prompt="Yes or no?")
    assert asked.layout.endswith("{passage}\nYes or no?")
    assert asked.record["template"]["prompt"] == "Yes or no?"
    told = pair_format(qwen3, instruction="find the law")
    assert "<Instruct>: find the law\n<Query>: {query}" in told.layout
    assert told.record != pair_format(qwen3).record


def test_an_absent_instruction_takes_no_place(qwen2: Path):
    assert "instruction" not in pair_format(qwen2).layout
    assert (
        "instruction: be strict\nquery: {query}"
        in pair_format(qwen2, instruction="be strict").layout
    )


def test_the_bos_is_left_out_where_it_is_the_padding(gemma: Path, llama: Path):
    assert pair_format(gemma).prefix == [2]
    assert pair_format(llama).prefix == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"template": "bge-gema"}, "did you mean 'bge-gemma'"),
        ({"template": "bge-gemma", "instruction": "x"}, "has no {instruction}"),
        ({"template": "zerank", "prompt": "x"}, "has no {prompt}"),
        ({"truncation": "longest_first"}, "encoder"),
        ({"template": "nemotron"}, "no answer tokens"),
        ({"max_length": LONGEST}, "Set model.max_length to at most"),
        ({"max_length": 64, "query_max_length": 500}, "no room for a passage"),
        ({"template": "qwen3-reranker", "max_length": 100}, "no room for a passage"),
    ],
)
def test_what_cannot_be_is_refused(gemma: Path, settings: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        pair_format(gemma, **settings)


@pytest.mark.parametrize("segments", [["{query}"], ["{query} {query}", "{passage}"], []])
def test_a_template_has_one_query_and_one_passage(segments: list[str]):
    with pytest.raises(ValueError, match="segments"):
        Template(segments=segments, answers={"Yes": 1.0})


def test_shared_texts_give_the_ids_of_each_pair(gemma: Path, qwen3: Path):
    for found in (pair_format(gemma), pair_format(qwen3)):
        queries, passages = ["how to", "what is"], ["Paris", "an egg", "a list"]
        query_of, passage_of = np.array([1, 0, 1]), np.array([2, 0, 0])
        tokens = found.encode(queries, passages, query_of, passage_of).tokens
        apart = [
            run
            for q, p in zip(query_of, passage_of, strict=True)
            for run in ids(found, (queries[q], passages[p]))
        ]
        assert tokens.values.tolist() == [i for run in apart for i in run]


def test_passages_start_behind_the_query(gemma: Path, qwen3: Path):
    for found in (pair_format(gemma), pair_format(qwen3)):
        sequences = found.encode(["how"], ["zebra"], np.array([0]), np.array([0]))
        rest = sequences.tokens.values[sequences.passage_starts[0] :]
        assert found.tokenizer.decode(rest).strip().removeprefix("B: ").startswith("zebra")


def test_no_pairs(gemma: Path, qwen3: Path):
    nothing = np.array([], np.int64)
    for folder in (gemma, qwen3):
        assert len(pair_format(folder).encode([], [], nothing, nothing)) == 0


def test_a_model_that_scales_its_logits_is_refused(gemma: Path, tmp_path: Path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(gemma)
    config = transformers.CohereConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        initializer_range=0.5,
        logit_scale=0.0625,
    )
    folder = tmp_path / "cohere"
    torch.manual_seed(0)  # a logit near 0 would be much the same scaled
    transformers.CohereForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model = ModelConfig(path=str(folder), template="bge-gemma")
    with pytest.raises(ConfigError, match="not supported"):
        llm.load(open_checkpoint(model), model, torch.float32, "cpu")


def test_only_the_rows_of_the_answers_are_kept(qwen3: Path):
    model = ModelConfig(path=str(qwen3))
    loaded = llm.load(open_checkpoint(model), model, torch.bfloat16, "cpu")
    assert (loaded.missing, loaded.unexpected, loaded.mismatched) == ((), (), ())
    assert loaded.model.rows.shape == (2, 32)
    assert loaded.model.rows.dtype == torch.float32
    assert not any("lm_head" in name for name, _ in loaded.model.named_parameters())


def test_a_decoder_that_is_an_embedding_model_is_no_reranker(qwen3: Path, tmp_path: Path):
    folder = shutil.copytree(qwen3, tmp_path / "embedder")
    change(folder, "config.json", architectures=["Qwen3Model"])
    assert json.loads((folder / "config.json").read_text())["model_type"] == "qwen3"
    found = open_checkpoint(ModelConfig(path=str(folder)))
    assert not any(family.fits(found) for family in families.FAMILIES.values())


@pytest.mark.parametrize(
    ("architecture", "family", "template"),
    [
        ("LayerWiseMiniCPMForCausalLM", "layerwise", "bge-layerwise"),
        ("CostWiseGemmaForCausalLM", "lightweight", "bge-lightweight"),
        ("T5ForConditionalGeneration", "seq2seq", "monot5"),
        ("MT5ForConditionalGeneration", "seq2seq", "monot5"),
    ],
)
def test_other_families_bring_their_template(architecture: str, family: str, template: str):
    found = checkpoint("BAAI/bge-reranker-v2", "x", architecture)
    assert [name for name, module in families.FAMILIES.items() if module.fits(found)] == [family]
    assert families.choose(found, ModelConfig(path="x"))[:2] == (family, template)


@pytest.mark.parametrize(
    ("name", "architecture", "of_template"),
    [
        ("Qwen/Qwen3-Reranker-0.6B", "SomeForCausalLM", "model.path has 'Qwen3-Rerank'"),
        ("./run-7/checkpoint-900", "LayerWiseMiniCPMForCausalLM", "the family's own"),
        ("./run-7/checkpoint-900", "SomeForCausalLM", "as configured"),  # a guess is not enough
    ],
)
def test_what_the_files_say_counts_as_found_also_if_it_is_set(
    name: str, architecture: str, of_template: str
):
    """As `--like` sets it."""
    there = checkpoint(name, "qwen3", architecture)
    family, template, line = families.choose(there, ModelConfig(path=name))
    again = families.choose(there, ModelConfig(path=name, family=family, template=template))
    assert again[2].startswith(f"family {family} (config.json says {architecture}")
    assert again[2].endswith(f"({of_template})")
    assert (again[2] == line) == (of_template != "as configured")
    other = families.choose(there, ModelConfig(path=name, family="lightweight"))
    assert other[2].startswith("family lightweight (as configured")


@pytest.mark.parametrize(
    ("name", "template", "answers"),
    [
        ("castorini/monot5-base-msmarco-10k", "monot5", ("true", "false")),
        ("unicamp-dl/mt5-base-mmarco-v2", "mt5-msmarco", ("yes", "no")),
        ("unicamp-dl/mt5-base-en-msmarco", "mt5-msmarco", ("yes", "no")),
        (
            "models--unicamp-dl--mt5-base-en-pt-msmarco-v1/snapshots/0a",
            "mt5-msmarco",
            ("yes", "no"),
        ),
        ("unicamp-dl/ptt5-base-pt-msmarco-10k-v2", "ptt5-msmarco", ("sim", "não")),
        ("unicamp-dl/InRanker-base", "monot5", ("true", "false")),
        ("unicamp-dl/mt5-13b-mmarco-100k", "mt5-mmarco-true", ("true", 259)),
        ("unicamp-dl/mt5-3B-mmarco-en-pt", "mt5-mmarco-true", ("true", 259)),
        # Their prompts or answers differ, or are not known.
        ("unicamp-dl/monoptt5-base", None, ()),
        ("castorini/duot5-base-msmarco", None, ()),
        ("google/mt5-base", None, ()),
        ("own/bge-reranker-t5", None, ()),
    ],
)
def test_t5_answers_in_the_words_that_it_was_trained_with(
    name: str, template: str | None, answers: tuple[str | int, ...]
):
    found, model = checkpoint(name, "mt5", "MT5ForConditionalGeneration"), ModelConfig(path=name)
    check = check_template(found, model)
    assert check.passed == (template is not None)
    if template is None:
        assert "model.template=" not in str(check)
        return
    assert families.choose(found, model)[1] == template
    right, wrong = answers
    chosen = resolve_template(found, model, "seq2seq")[1]
    assert chosen.answers | chosen.answer_ids == {right: 1, wrong: -1}


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("BertForSequenceClassification", {"instruction": "x"}),
        ("GemmaForCausalLM", {"cutoff_layer": 3}),
        ("LayerWiseMiniCPMForCausalLM", {"compress_ratio": 2}),
    ],
)
def test_keys_that_a_family_does_not_heed_are_refused(architecture: str, settings: dict[str, Any]):
    found = checkpoint("x", "x", architecture)
    with pytest.raises(ConfigError, match=next(iter(settings))):
        families.choose(found, ModelConfig(path="x", **settings))


@pytest.mark.parametrize("name", ["minicpm_layerwise", "gemma2_lightweight"])
def test_a_cutoff_without_a_head_is_refused(name: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(name)
    for cutoff in (1, 7):
        model = ModelConfig(path=str(folder), cutoff_layer=cutoff)
        found = open_checkpoint(model)
        with pytest.raises(ConfigError, match="layers 2 to 6"):
            families.FAMILIES[families.recognise(found, "auto")].pair_format(found, model)


@pytest.mark.parametrize("name", ["minicpm_layerwise", "gemma2_lightweight"])
def test_layers_above_the_cutoff_are_not_loaded(name: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(name)
    model = ModelConfig(path=str(folder), cutoff_layer=3)
    found = open_checkpoint(model)
    family = families.FAMILIES[families.recognise(found, "auto")]
    loaded = family.load(found, model, torch.bfloat16, "cpu")
    assert (loaded.missing, loaded.unexpected, loaded.mismatched) == ((), (), ())
    assert len(loaded.model.model.layers) == 3
    [head] = loaded.model.lm_head.parameters()
    assert (head.dtype, head.shape) == (torch.float32, (1, 32))


def test_compression_averages_windows_of_the_passage_only():
    hidden = torch.arange(20.0).reshape(2, 10, 1)
    lengths, starts = torch.tensor([10, 7]), torch.tensor([2, 3])
    assert compressed_lengths(lengths, starts, 2, 4).tolist() == [6, 6]
    states = compress(hidden, lengths, starts, behind=2, ratio=4, width=6)
    # First: 2 before, passage 2 to 7 in windows of 4 and 2, 2 behind; second: 3, passage 13 and 14.
    assert states[0, :, 0].tolist() == [0, 1, 3.5, 6.5, 8, 9]
    assert states[1, :, 0].tolist() == [10, 11, 12, 13.5, 15, 16]


def test_rows_may_bring_instructions_of_their_own(qwen3: Path, qwen2: Path):
    for folder in (qwen3, qwen2):
        found = pair_format(folder, instruction="the configured one")
        index = np.array([0, 1])
        own = found.encode(["q", "q"], ["p"], index, index * 0, instructions=["be strict", None])
        texts = [found.tokenizer.decode(run) for run in runs(own)]
        assert "be strict" in texts[0]
        assert "the configured one" not in texts[0]
        assert runs(own)[1] == ids(found, ("q", "p"))[0]


def test_a_row_without_an_instruction_of_its_own_may_be_told_none(qwen2: Path):
    found = pair_format(qwen2, instruction="be strict")
    zero = np.array([0])
    [run] = runs(found.encode(["q"], ["p"], zero, zero, instructions=[""]))
    assert "instruction" not in found.tokenizer.decode(run)


def test_an_endless_instruction_leaves_room(qwen3: Path):
    found = pair_format(qwen3, max_length=400, query_max_length=60)
    zero = np.array([0])
    long = " ".join(["strict"] * 900)
    sequences = found.encode(["a b c"], ["d e f"], zero, zero, instructions=[long])
    assert sequences.tokens.lengths[0] <= found.max_length
    assert "<Query>: a b c" in found.tokenizer.decode(runs(sequences)[0])


def runs(sequences: TokenSequences) -> list[list[int]]:
    tokens = sequences.tokens
    return [run.tolist() for run in np.split(tokens.values, np.cumsum(tokens.lengths)[:-1])]
