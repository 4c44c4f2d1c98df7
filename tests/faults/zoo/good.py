"""Good but unusual checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from reranker_core.models.templates import TEMPLATES
from tests import damage
from tests.damage import Weights
from tests.faults.checkpoint_edits import (
    HEAD,
    HEAD_BIAS,
    MODEL,
    WORDS,
    Build,
    changed,
    config,
    json_file,
    renamed,
    weights,
)
from tests.faults.zoo.files import as_pickle, in_two_shards, sharded
from tests.faults.zoo.kind import Kind
from tests.faults.zoo.vocabularies import limits_in_the_tokenizer, more_tokens, words_alone

POSITIONS = "bert.embeddings.position_embeddings.weight"


def drawn_as_wide(source: Path, folder: Path) -> None:
    deviation = load_file(source / MODEL)[HEAD].float().std().item()
    config(initializer_range=deviation)(source, folder)


def in_dtype(dtype: torch.dtype) -> Build:
    def edit(tensors: Weights) -> None:
        for name in tensors:
            tensors[name] = tensors[name].to(dtype)

    return weights(edit)


def padded_vocabulary(source: Path, folder: Path) -> None:
    def edit(tensors: Weights) -> None:
        rows = tensors[WORDS]
        more = -len(rows) % 128
        tensors[WORDS] = torch.cat([rows, torch.zeros(more, rows.shape[1], dtype=rows.dtype)])

    damage.with_weights(source, folder, edit)
    json_file("config.json", vocab_size=len(load_file(folder / MODEL)[WORDS]))(folder)


def old_norm_names(name: str) -> str:
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
    return name.replace("LayerNorm.bias", "LayerNorm.beta")


def beside(folder: Path) -> None:
    (folder / "onnx").mkdir()
    (folder / "onnx/model.onnx").write_bytes(b"onnx")
    (folder / "training_args.bin").write_bytes(b"a pickle that nobody loads")
    (folder / "optimizer.pt").write_bytes(b"neither")
    (folder / "README.md").write_text("# a model")


def linked(source: Path, folder: Path) -> None:
    """As a hub cache: links to blobs."""
    blobs = folder.parent / f"{folder.name}-blobs"
    shutil.copytree(source, blobs)
    folder.mkdir()
    for path in blobs.iterdir():
        (folder / path.name).symlink_to(path)


def layout_told(source: Path, folder: Path) -> None:
    damage.with_config(source, folder, _name_or_path=None)
    prompt = TEMPLATES["bge-gemma"].prompt
    layout = f"<bos>A: {{query}}\nB: {{passage}}\n{prompt}"
    json_file("reranker.json", layout=layout)(folder)


def position_ids(tensors: Weights) -> None:
    tensors["bert.embeddings.position_ids"] = torch.arange(256)[None]


def two_labels(source: Path, folder: Path) -> None:
    """A head as monoBERT's: the score is the difference of its two logits."""

    def edit(tensors: Weights) -> None:
        for name in (HEAD, HEAD_BIAS):
            tensors[name] = torch.cat([-tensors[name] / 2, tensors[name] / 2])

    names = {"not_relevant": 0, "relevant": 1}
    damage.with_weights(source, folder, edit)
    json_file("config.json", id2label={str(i): name for name, i in names.items()}, label2id=names)(
        folder
    )


def more_positions(source: Path, folder: Path) -> None:
    """A table that was made longer, and rows that no pair reaches."""

    def edit(tensors: Weights) -> None:
        tensors[POSITIONS] = torch.cat([tensors[POSITIONS], 0 * tensors[POSITIONS]])

    damage.with_weights(source, folder, edit)
    json_file("config.json", max_position_embeddings=512)(folder)


def without_metadata(folder: Path) -> None:
    save_file(load_file(folder / MODEL), folder / MODEL)


def older_beside(folder: Path) -> None:
    older = {name: tensor * 0 for name, tensor in load_file(folder / MODEL).items()}
    torch.save(older, folder / "pytorch_model.bin")


def left_over(tensors: Weights) -> None:
    tensors["cls.predictions.bias"] = torch.ones(9000)
    tensors["loss.logit_scale"] = torch.ones(1)


GOOD: dict[str, Kind] = {
    "as_it_is": Kind("the trained encoder", "", changed(lambda folder: None)),
    "sharded": Kind("weights in several files", "", changed(sharded)),
    "twice": Kind(
        "a tensor in two files, with the same values",
        "",
        changed(in_two_shards(lambda value: value)),
    ),
    "float32_storage": Kind("stored as float32", "", in_dtype(torch.float32)),
    "bfloat16_storage": Kind("stored as bfloat16", "", in_dtype(torch.bfloat16)),
    "position_ids": Kind("a table that older versions saved", "", weights(position_ids)),
    "other_label": Kind(
        "another label name", "", config(id2label={"0": "RELEVANCE"}, label2id={"RELEVANCE": 0})
    ),
    "outputs_as_tuples": Kind("return_dict false, from old code", "", config(return_dict=False)),
    "drawn_as_wide": Kind(
        "a trained head whose weights deviate as drawn ones would", "", drawn_as_wide
    ),
    "padded_vocabulary": Kind("embeddings padded to a round number", "", padded_vocabulary),
    "gamma_and_beta": Kind("names of norms from TensorFlow days", "", renamed(old_norm_names)),
    "pickle_allowed": Kind(
        "a pickle, with model.allow_pickle=true",
        "",
        changed(as_pickle),
        settings=("model.allow_pickle=true",),
    ),
    "beside": Kind("exports and training state beside the weights", "", changed(beside)),
    "linked": Kind("links, as in a hub cache", "", linked),
    "limits_in_the_tokenizer": Kind(
        "truncation and padding in tokenizer.json", "", changed(limits_in_the_tokenizer)
    ),
    "words_alone": Kind("vocab.txt alone", "", changed(words_alone("\n"))),
    "words_of_windows": Kind("vocab.txt alone, with CR LF", "", changed(words_alone("\r\n"))),
    "no_tokenizer_config": Kind(
        "no tokenizer_config.json",
        "",
        changed(lambda folder: (folder / "tokenizer_config.json").unlink()),
    ),
    "generic_tokenizer": Kind(
        "the general tokenizer class, which says nothing of token types",
        "",
        changed(json_file("tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")),
    ),
    "float64_storage": Kind("stored as float64", "", in_dtype(torch.float64)),
    "no_metadata": Kind("a weight file without metadata", "", changed(without_metadata)),
    "older_beside": Kind("an older pickle beside the weights", "", changed(older_beside)),
    "more_tokens": Kind("24 tokens added", "", more_tokens),
    "more_positions": Kind("positions made longer, the new ones zero", "", more_positions),
    "regression": Kind("problem_type regression", "", config(problem_type="regression")),
    "flash_attention": Kind(
        "flash attention asked for", "", config(_attn_implementation="flash_attention_2")
    ),
    "no_quantisation": Kind("quantization_config empty", "", config(quantization_config={})),
    "wrapped": Kind(
        "names with the prefix of a wrapper", "", renamed(lambda name: f"_orig_mod.module.{name}")
    ),
    "left_over": Kind("tensors left over from pretraining and a loss", "", weights(left_over)),
    "two_labels": Kind("two labels, as monoBERT", "", two_labels),
    "prompt_as_trained": Kind(
        "a reranker.json that agrees",
        "",
        changed(json_file("reranker.json", answers={"Yes": 1.0}, truncation="only_passage")),
        base="gemma",
    ),
    "named_template": Kind(
        "a language model with an unknown name, its template configured",
        "",
        config(_name_or_path=None),
        base="gemma",
        settings=("model.template=bge-gemma",),
    ),
    "named_layout": Kind(
        "one with an unknown name whose reranker.json contains the layout",
        "",
        layout_told,
        base="gemma",
    ),
    "tied": Kind("a language model with tied embeddings", "", config(), base="gemma"),
    "classifier": Kind(
        "a language model with a classification head and a known name",
        "",
        config(),
        base="qwen3_classifier",
    ),
    "untied": Kind("a language model with its own output embeddings", "", config(), base="llama"),
    "digest_as_pinned": Kind(
        "model.digest set, and right",
        "",
        changed(lambda folder: None),
        settings=("model.digest={digest}",),
    ),
}
