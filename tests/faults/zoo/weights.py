"""Weights that are missing, of another model, or untrained."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests import damage
from tests.damage import Weights
from tests.faults.checkpoint_edits import (
    HEAD,
    HEAD_BIAS,
    WORDS,
    Build,
    config,
    scaled,
    weights,
    without,
)
from tests.faults.zoo.kind import Kind
from tests.quantised_checkpoints import packed


def spoiled(name: str, value: float) -> Build:
    def edit(tensors: Weights) -> None:
        tensors[name].view(-1)[3] = value

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


def linear_head(tensors: Weights) -> None:
    torch.manual_seed(2)
    layer = torch.nn.Linear(tensors[HEAD].shape[1], 1)
    tensors[HEAD] = layer.weight.detach().to(tensors[WORDS].dtype)
    tensors[HEAD_BIAS] = layer.bias.detach().to(tensors[WORDS].dtype)


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


def quantized(tensors: Weights) -> None:
    for name in [n for n in tensors if n.endswith("dense.weight")]:
        scale = tensors[name].float().abs().max() / 127
        tensors[f"{name}_scale"] = scale[None]
        tensors[name] = (tensors[name].float() / scale).round().to(torch.int8)


def swapped_layers(tensors: Weights) -> None:
    layers = [name for name in tensors if ".layer.0." in name]
    for name in layers:
        other = name.replace(".layer.0.", ".layer.1.")
        tensors[name], tensors[other] = tensors[other], tensors[name]


def collapsed(tensors: Weights) -> None:
    tensors[HEAD] = tensors[HEAD].float() * 1e-7
    tensors[HEAD_BIAS] = torch.ones_like(tensors[HEAD_BIAS])


def long_layers(source: Path) -> int:
    return int(json.loads((source / "config.json").read_text())["num_hidden_layers"])


def with_layers(more: int) -> Build:
    def build(source: Path, folder: Path) -> None:
        damage.with_config(source, folder, num_hidden_layers=long_layers(source) + more)

    return build


KINDS: dict[str, Kind] = {
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
    "quantized": Kind("int8 weights with scales", "files/not_quantised", weights(quantized)),
    **{
        f"{method}_{where or 'untold'}": Kind(
            f"4-bit weights as {method.upper()} packs them, {told}",
            "files/not_quantised",
            lambda source, folder, method=method, where=where: packed(
                source, folder, method, where
            ),
            base="qwen3",
        )
        for method, where, told in (
            ("gptq", "config.json", "said in config.json"),
            ("gptq", "quantize_config.json", "said in AutoGPTQ's file alone"),
            ("awq", "config.json", "said in config.json"),
            ("awq", "", "said nowhere"),
        )
    },
    "causal_encoder": Kind(
        "an encoder whose tokens would attend to earlier ones only",
        "architecture/usual_settings",
        config(is_decoder=True),
    ),
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
        "a head with random weights on a body that was trained to rerank",
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
        "meaning/hard_comparisons",
        config(num_attention_heads=3),
    ),
    "another_config": Kind(
        "another config.json than that of the approved model",
        "meaning/golden",
        config(initializer_range=0.03),
        settings=("preflight.golden={golden}",),
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
