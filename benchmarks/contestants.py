"""Who takes part in `benchmarks.peers`: this project, and what else scores the same checkpoint.

OpenVINO stands in with sentence-transformers' own tokenizing and batching, and its model converted
by `openvino` alone: optimum-intel, which its backend needs, does not go with transformers 5.20.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from benchmarks.pairs import pairs_of_docstrings
from benchmarks.random_checkpoints import random_head, save, small_gemma, word_pairs
from benchmarks.shapes import SHAPES as RANDOM_SHAPES
from reranker_core.config import load_config
from reranker_core.device import DTYPES
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer

MAX_LENGTH = 512
DEFAULT_ROWS = 32  # of sentence-transformers
_LLM_ROWS = 32  # of its default 128, all logits of a long batch would take 17 GB

_OPENVINO = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}

Pairs = list[tuple[str, str]]
Scoring = Callable[[Pairs], np.ndarray]


def ours(model: Path, dtype: str, *settings: str, device: str = "cpu", pairs: float = 0) -> Scorer:
    """The scorer of this project; `pairs` as in `load_scorer`."""
    settings = (
        *("input.path=unused", "output.path=unused", f"model.path={model}", f"model.dtype={dtype}"),
        *(f"model.device={device}", f"model.max_length={MAX_LENGTH}"),
        *("preflight.checks.meaning=off", *settings),
    )
    return load_scorer(load_config(None, settings), None, pairs)


def _peers(model: Path, dtype: str) -> dict[str, Scoring]:
    found = {
        "sentence-transformers": predict(model),
        "FlagReranker": flag(model),  # half precision is for its GPUs
    }
    if dtype != "float32":
        found[f"sentence-transformers, {dtype}"] = predict(model, dtype)
    try:
        found["OpenVINO in sentence-transformers"] = _openvino(model, dtype)
    except ImportError:
        print("openvino is not installed; it is not measured")
    return found


def _llm_peers(model: Path, dtype: str) -> dict[str, Scoring]:
    return {"FlagLLMReranker": flag(model, dtype, rows=_LLM_ROWS, llm=True)}


def _encoder(model: Path, dtype: str = "float32", device: str = "cpu") -> CrossEncoder:
    options = {"dtype": DTYPES[dtype]}
    return CrossEncoder(str(model), device=device, max_length=MAX_LENGTH, model_kwargs=options)


def predict(
    model: Path, dtype: str = "float32", device: str = "cpu", rows: int = DEFAULT_ROWS
) -> Scoring:
    """sentence-transformers, with batches of so many rows."""
    encoder, identity = _encoder(model, dtype, device), torch.nn.Identity()
    return lambda pairs: encoder.predict(
        pairs, batch_size=rows, activation_fn=identity, show_progress_bar=False
    )


def flag(
    model: Path, dtype: str = "float32", device: str = "cpu", rows: int = 128, llm: bool = False
) -> Scoring:
    """FlagReranker, or FlagLLMReranker, with batches of so many rows."""
    from FlagEmbedding import FlagLLMReranker, FlagReranker

    reranker = (FlagLLMReranker if llm else FlagReranker)(
        str(model),
        use_fp16=False,
        use_bf16=dtype == "bfloat16",
        devices=[device],
        max_length=MAX_LENGTH,
        query_max_length=384,
        batch_size=rows,
    )
    return lambda pairs: np.array(reranker.compute_score(list(map(list, pairs))), np.float32)


def _openvino(model: Path, dtype: str) -> Scoring:
    import openvino

    encoder = _encoder(model)
    bert = encoder.model.eval()
    names = encoder.tokenizer.model_input_names
    example = {name: torch.ones((2, 16), dtype=torch.int64) for name in names}
    converted = openvino.convert_model(bert, example_input=example)
    hints = {"INFERENCE_PRECISION_HINT": _OPENVINO[dtype], "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(converted, "CPU", hints)

    def score(pairs: Pairs) -> np.ndarray:
        order = sorted(range(len(pairs)), key=lambda i: -len(pairs[i][0]) - len(pairs[i][1]))
        scores = np.empty(len(pairs), np.float32)
        for begin in range(0, len(order), 32):
            rows = order[begin : begin + 32]
            inputs = encoder.tokenizer(
                [pairs[i] for i in rows],
                padding=True,
                truncation="longest_first",
                max_length=MAX_LENGTH,
                return_tensors="np",
            )
            scores[rows] = compiled({name: inputs[name] for name in names})[0][:, 0]
        return scores

    return score


@dataclass(frozen=True)
class Shape:
    """A kind of model, how this project is to score it, who else can, and a number of pairs."""

    make: Callable[[Path], Path]
    settings: tuple[str, ...]
    peers: Callable[[Path, str], dict[str, Scoring]]
    pairs: Callable[[int], Pairs] = pairs_of_docstrings


_CUT = "model.truncation=longest_first"
# The vocabulary is smaller than the model's, and deep random layers are harder for half precision.
_RANDOM = (_CUT, "preflight.checks.tokenizer=off", "preflight.checks.numerics=warn")


def _random(name: str) -> Shape:
    def make(folder: Path) -> Path:
        save(RANDOM_SHAPES[name], folder, torch.float32, "cpu")
        return folder

    return Shape(make, _RANDOM, _peers, word_pairs)


SHAPES = {
    "minilm": Shape(random_head, (_CUT,), _peers),
    "bert-base": _random("bert-base"),
    "xlm-r-large": _random("xlm-r-large"),
    "gemma": Shape(
        small_gemma,
        # The tokenizer is a smaller one than the vocabulary.
        (
            "model.template=bge-gemma",
            "model.query_max_length=384",
            "preflight.checks.tokenizer=off",
        ),
        _llm_peers,
    ),
}
