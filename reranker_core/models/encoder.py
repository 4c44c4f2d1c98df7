"""Encoder rerankers: encoders of any class `…ForSequenceClassification`.

BERT, XLM-RoBERTa (bge-reranker-base, -large, -v2-m3), ModernBERT, DistilBERT, ELECTRA and others.
A pair becomes ids as in FlagEmbedding's FlagReranker (`formats/joined.py`). The score is the logit
of the only label, or the log-odds of the label that means relevant (`labels.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from reranker_core.config import ModelConfig
from reranker_core.encode.formats.joined import JoinedFormat
from reranker_core.errors import ConfigError
from reranker_core.models.batch import Batch
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.decoders import is_decoder
from reranker_core.models.family import LoadedModel
from reranker_core.models.labels import label_of, label_record, log_odds, relevant_label
from reranker_core.models.lengths import longest_input
from reranker_core.models.loading import has_head, inputs_to_float32, load_classifier
from reranker_core.models.modules import default_prompt
from reranker_core.models.reentrancy import is_reentrant
from reranker_core.models.tokenizer import AROUND_PAIR, TYPES, load_tokenizer

DEFAULT_MAX_LENGTH = 512


def fits(checkpoint: Checkpoint) -> bool:
    """Whether config.json names an encoder with a classification head."""
    return has_head(checkpoint) and not is_decoder(checkpoint)


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> JoinedFormat:
    """The pair format of a checkpoint. If `model.max_length` is null, at most 512 ids per pair.

    Raises:
        PreflightRefused: the tokenizer cannot be loaded.
        ConfigError: a length does not fit the model or another length.

    """
    return joined_format(checkpoint, model, DEFAULT_MAX_LENGTH)


def joined_format(checkpoint: Checkpoint, model: ModelConfig, most: int) -> JoinedFormat:
    """As `pair_format`, with `most` instead of 512."""
    tokenizer = load_tokenizer(checkpoint, model)
    longest = longest_input(checkpoint, tokenizer.named, model.max_length)
    max_length = model.max_length or min(most, longest)
    if max_length > longest:
        raise ConfigError(
            f"model.max_length={max_length} exceeds the {longest} positions of "
            f"{checkpoint.source}. Set it to at most {longest}"
        )
    around = tokenizer.around_pair()
    share = max_length * 3 // 4
    if model.truncation == "only_passage":
        share = max(1, min(share, around.room(max_length)))
    query_max_length = model.query_max_length or share
    return JoinedFormat(
        tokenizer.text(model.special_tokens, AROUND_PAIR, TYPES),
        around,
        max_length,
        query_max_length,
        model,
        label_record(checkpoint, model),
        (default_prompt(checkpoint.folder) or "") if model.prompt is None else model.prompt,
    )


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """The encoder in `dtype`; its head computes in float32, so that no digits of scores are lost.

    States that the head does not read are not computed (`networks/first_token_layer.py`).

    Raises:
        ConfigError: the head has no label `model.label`.
        PreflightRefused: transformers cannot load a classification model from the folder.

    """
    from reranker_core.models.networks.first_token_layer import read_first_token_only
    from reranker_core.models.networks.packing import pack_if_same

    loaded = load_classifier("encoder", checkpoint, model, dtype)
    body = loaded.model.base_model_prefix
    head = {name: part for name, part in loaded.model.named_children() if name != body}
    if dtype != torch.float32:
        for module in head.values():
            module.float().register_forward_pre_hook(inputs_to_float32)
    able = read_first_token_only(loaded.model)
    loaded.model.config.label = relevant_label(checkpoint, model)
    loaded.model.to(device)
    pack_if_same(loaded.model, forward, able)
    names = tuple(f"{name}." for name in head)
    return replace(loaded, head=names, reentrant=is_reentrant(loaded.model))


def forward(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Float32 scores of a batch, shape (rows,)."""
    return log_odds(model(**inputs(model, batch)).logits, label_of(model))


def inputs(model: Any, batch: Batch) -> dict[str, Any]:
    """The arguments of an encoder's forward, each of shape (R, W), or (1, T) if the batch is
    packed; with token types if it has them.
    """
    packing, starts = batch.packing, batch.passage_starts
    if packing is None:
        given: dict[str, Any] = {"input_ids": batch.ids, "attention_mask": batch.mask}
        positions = torch.arange(batch.ids.shape[1], device=batch.ids.device)
        starts = starts[:, None]
    else:
        from reranker_core.models.networks.packing import packed_positions

        given = {"input_ids": batch.ids, "packing": packing}
        embeddings = model.base_model.embeddings
        given["position_ids"] = packed_positions(embeddings, batch.ids, packing)
        positions, starts = packing.positions()[None], packing.of_each_token(starts)[None]
    if getattr(model.config, "type_vocab_size", 0) > 1:
        given["token_type_ids"] = ((positions >= starts) & batch.mask.bool()).long()
    return given
