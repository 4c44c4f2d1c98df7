"""What others compute for the same checkpoints: FlagEmbedding, sentence-transformers, and a plain
float64 forward of transformers' own class on ids that are joined as the authors' code joins them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from FlagEmbedding import FlagLLMReranker
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    MT5ForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5ForConditionalGeneration,
)

from tests import flag_models
from tests.parity.common import Pair

Join = Callable[[Any, str, str, int, int], list[int]]

FLAG_PROMPT = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the "
    "query by providing a prediction of either 'Yes' or 'No'."
)
QWEN_PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
QWEN_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
QWEN_TASK = "Given a web search query, retrieve relevant passages that answer the query"
MXBAI_PREFIX = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    "<|im_end|>\n<|im_start|>user\n"
)
MXBAI_TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For "
    "each query-document pair, carefully analyze the semantic relationship between them, then "
    "provide your binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
)


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def flag_llm(tokenizer: Any, query: str, passage: str, most: int, query_most: int) -> list[int]:
    """FlagLLMReranker: the passage is cut to make room for all but the prompt."""
    has_bos = tokenizer.bos_token_id not in (None, tokenizer.pad_token_id)
    bos = [tokenizer.bos_token_id] if has_bos else []
    before, rest, behind = _flag_parts(tokenizer, query, passage, most, query_most, FLAG_PROMPT)
    return (bos + before + rest)[: most + len(behind)] + behind


def _flag_parts(
    tokenizer: Any, query: str, passage: str, most: int, query_most: int, prompt: str
) -> tuple[list[int], list[int], list[int]]:
    newline = ids_of(tokenizer, "\n")
    return (
        ids_of(tokenizer, "A: " + query)[:query_most] + newline,
        ids_of(tokenizer, "B: " + passage)[:most],
        newline + ids_of(tokenizer, prompt),
    )


def qwen3_card(tokenizer: Any, query: str, passage: str, most: int, query_most: int) -> list[int]:
    """The model card of Qwen3-Reranker: the body is one text, cut at its end."""
    prefix, suffix = ids_of(tokenizer, QWEN_PREFIX), ids_of(tokenizer, QWEN_SUFFIX)
    body = f"<Instruct>: {QWEN_TASK}\n<Query>: {query}\n<Document>: {passage}"
    return prefix + ids_of(tokenizer, body)[: most - len(prefix) - len(suffix)] + suffix


def mxbai(tokenizer: Any, query: str, passage: str, most: int, query_most: int) -> list[int]:
    """MxbaiRerankV2.prepare_inputs."""
    query_ids = ids_of(tokenizer, f"query: {query}")[:query_most]
    document = ids_of(tokenizer, "\n") + ids_of(tokenizer, f"document: {passage}")[:most]
    return [
        *ids_of(tokenizer, MXBAI_PREFIX),
        *(query_ids + document)[:most],
        *ids_of(tokenizer, "\n"),
        *ids_of(tokenizer, MXBAI_TASK),
        *ids_of(tokenizer, "<|im_end|>\n<|im_start|>assistant\n"),
    ]


def zerank(tokenizer: Any, query: str, passage: str, most: int, query_most: int) -> list[int]:
    """modeling_zeranker.py on the turns of Qwen3's chat template; it cuts no tokens."""
    return ids_of(
        tokenizer,
        f"<|im_start|>system\n{query.strip()}<|im_end|>\n<|im_start|>user\n{passage.strip()}"
        "<|im_end|>\n<|im_start|>assistant\n",
    )


def contextual(tokenizer: Any, query: str, passage: str, most: int, query_most: int) -> list[int]:
    """The model card of ctxl-rerank-v2, whose own truncation would cut the query."""
    return list(
        tokenizer(
            "Check whether a given document contains information helpful to answer the query.\n"
            f"<Document> {passage}\n<Query> {query} ??"
        )["input_ids"]
    )


def nemotron(tokenizer: Any, query: str, passage: str, most: int, query_most: int) -> list[int]:
    """The model card of llama-nemotron-rerank-1b-v2."""
    return list(tokenizer(f"question:{query} \n \n passage:{passage}")["input_ids"])


class Float64:
    """A causal language model in float64, without padding."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, trust_remote_code=False)
        self.model = AutoModelForCausalLM.from_pretrained(folder).double().eval()

    def scores(self, inputs: list[list[int]], answers: dict[int, float]) -> np.ndarray:
        """Weighted sum of the answers' logits behind the last token."""
        scores = np.empty(len(inputs))
        lengths = np.array([len(ids) for ids in inputs])
        for length in set(lengths):
            rows = np.flatnonzero(lengths == length)
            with torch.inference_mode():
                logits = self.model(torch.tensor([inputs[row] for row in rows])).logits[:, -1]
            scores[rows] = sum(logits[:, i] * weight for i, weight in answers.items()).numpy()
        return scores


class Classifier64:
    """A class with a classification head in float64, one pair at a time."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, trust_remote_code=True)
        self.model = AutoModelForSequenceClassification.from_pretrained(
            folder, trust_remote_code=True
        )
        self.model.double().eval()

    def scores(self, inputs: list[list[int]]) -> np.ndarray:
        """The one logit."""
        with torch.inference_mode():
            return np.array([self._score(torch.tensor([ids])) for ids in inputs])

    def _score(self, ids: torch.Tensor) -> float:
        return float(self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 0])


@cache
def classifier64(folder: Path) -> Classifier64:
    return Classifier64(folder)


@cache
def float64(folder: Path) -> Float64:
    return Float64(folder)


@cache
def _flag_llm_reranker(folder: Path) -> FlagLLMReranker:
    return FlagLLMReranker(str(folder), use_fp16=False, devices="cpu")


def flag_llm_scores(folder: Path, pairs: list[Pair], most: int, query_most: int) -> np.ndarray:
    reranker = _flag_llm_reranker(folder)
    return np.array(
        reranker.compute_score(pairs, max_length=most, query_max_length=query_most, batch_size=16)
    )


@cache
def _cross_encoder(folder: Path) -> CrossEncoder:
    chat = (
        QWEN_PREFIX + "<Instruct>: " + QWEN_TASK + "\n<Query>: "
        "{{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }}"
        "\n<Document>: "
        "{{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}"
        + QWEN_SUFFIX.replace("\n", "{{ '\\n' }}")
    )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, trust_remote_code=False)
    model = Transformer(
        str(folder),
        transformer_task="text-generation",
        processor_kwargs={"chat_template": chat},
        model_kwargs={"device_map": "cpu"},
    )
    yes, no = (ids_of(tokenizer, word)[0] for word in ("yes", "no"))
    return CrossEncoder(
        modules=[model, LogitScore(yes, no)], device="cpu", activation_fn=torch.nn.Identity()
    )


def cross_encoder_scores(folder: Path, pairs: list[Pair]) -> np.ndarray:
    """sentence-transformers, with the prompt of Qwen3-Reranker as chat template."""
    return _cross_encoder(folder).predict(pairs, show_progress_bar=False)


@cache
def _in_float64(folder: Path, architecture: Any) -> Any:
    # Not by from_pretrained, which leaves buffers of older code, such as RoPE's, uninitialised.
    model = architecture(architecture.config_class.from_pretrained(folder))
    weights = load_file(folder / "model.safetensors")
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all("embed_tokens" in name or name == "lm_head.weight" for name in missing)  # tied
    model.tie_weights()
    return model.double().eval()


def layerwise_scores(
    folder: Path, pairs: list[Pair], most: int, query_most: int, cutoffs: list[int]
) -> np.ndarray:
    """FlagEmbedding's MiniCPM in float64, a pair at a time, shape (pairs, cutoffs)."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, trust_remote_code=False)
    model = _in_float64(folder, flag_models.LayerWiseMiniCPMForCausalLM)
    scores = []
    for pair in pairs:
        before, rest, behind = _flag_parts(tokenizer, *pair, most, query_most, FLAG_PROMPT)
        ids = ([tokenizer.bos_token_id, *before, *rest])[: most + len(behind)] + behind
        with torch.inference_mode():
            inputs = torch.tensor([ids])
            mask = torch.ones_like(inputs)
            out = model(inputs, attention_mask=mask, use_cache=False, cutoff_layers=cutoffs)
        scores.append([logits[0, -1].item() for logits in out.logits])
    return np.array(scores)


def lightweight_scores(
    folder: Path,
    pairs: list[Pair],
    most: int,
    query_most: int,
    cutoffs: list[int],
    layers: list[int],
    ratio: int,
) -> np.ndarray:
    """FlagEmbedding's compressing Gemma2 in float64, a pair at a time, shape (pairs, cutoffs)."""
    prompt = "Predict whether passage B contains an answer to query A."
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, trust_remote_code=False)
    model = _in_float64(folder, flag_models.CostWiseGemmaForCausalLM)
    model.config._attn_implementation = "eager"
    scores = []
    for pair in pairs:
        before, rest, behind = _flag_parts(tokenizer, *pair, most, query_most, prompt)
        before = [tokenizer.bos_token_id, *before]
        ids = (before + rest)[: most + len(behind)] + behind
        with torch.inference_mode():
            inputs = torch.tensor([ids])
            out = model(
                inputs,
                attention_mask=torch.ones_like(inputs),
                use_cache=False,
                output_hidden_states=True,
                compress_layer=layers,
                compress_ratio=ratio,
                query_lengths=[len(before)],
                prompt_lengths=[len(behind)],
                cutoff_layers=cutoffs,
            )
        scores.append([logits[0, -1].item() for logits in out.logits])
    return np.array(scores)


def monot5_scores(
    folder: Path,
    pairs: list[Pair],
    architecture: Any = T5ForConditionalGeneration,
    answers: tuple[str | int, str | int] = ("true", "false"),
) -> np.ndarray:
    """Logit of the first answer less that of the second one at the decoder's first step, in
    float64. An answer is a word or a vocabulary id.
    """
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, trust_remote_code=False)
    model = _in_float64(folder, architecture)
    true, false = (a if isinstance(a, int) else ids_of(tokenizer, a)[0] for a in answers)
    start = torch.tensor([[model.config.decoder_start_token_id]])
    scores = []
    for query, passage in pairs:
        text = f"Query: {query} Document: {passage} Relevant:"
        with torch.inference_mode():
            inputs = torch.tensor([tokenizer(text)["input_ids"]])
            logits = model(input_ids=inputs, decoder_input_ids=start).logits[0, 0]
        scores.append((logits[true] - logits[false]).item())
    return np.array(scores)


PTT5_ANSWERS = ("sim", "não")
MT5_ANSWERS: dict[str, tuple[str | int, str | int]] = {
    "mt5-msmarco": ("yes", "no"),
    "mt5-mmarco-true": ("true", 259),
}


def mt5_scores(folder: Path, pairs: list[Pair], template: str) -> np.ndarray:
    """As `monot5_scores`, with the answers of pygaggle for a template's checkpoints."""
    return monot5_scores(folder, pairs, MT5ForConditionalGeneration, MT5_ANSWERS[template])
