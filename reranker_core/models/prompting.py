"""The prompt format of a checkpoint: its template, and its tokenizer's special tokens."""

from __future__ import annotations

from typing import Any

from reranker_core.config import ModelConfig
from reranker_core.encode.formats.prompt import PromptFormat
from reranker_core.errors import ConfigError
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.lengths import longest_input
from reranker_core.models.own_words import template_for
from reranker_core.models.tokenizer import AROUND_TEXT, CheckpointTokenizer, load_tokenizer


def prompt_format(
    checkpoint: Checkpoint, model: ModelConfig, family: str, **settings: Any
) -> PromptFormat:
    """The prompt format of a checkpoint.

    Args:
        checkpoint: the model's files.
        model: the configuration.
        family: name of the family.
        settings: other settings of the family that change a score; they become part of the
            fingerprint.

    Raises:
        ConfigError: the template, or a length, does not fit the model.
        PreflightRefused: the tokenizer cannot be loaded.

    """
    if model.truncation != "only_passage":
        raise ConfigError(
            f"model.truncation={model.truncation} is only for encoder rerankers. With a "
            "template, only the passage is cut. Remove this key"
        )
    name, template = template_for(checkpoint, model, family)
    tokenizer = load_tokenizer(checkpoint, model)
    uses = [AROUND_TEXT] if template.specials == "tokenizer" else []
    return PromptFormat.of(
        tokenizer.text(model.special_tokens, *uses),
        _specials(tokenizer, template.specials),
        template,
        name,
        model,
        longest_input(checkpoint, tokenizer.named, model.max_length),
        settings,
    )


def _specials(tokenizer: CheckpointTokenizer, which: str) -> tuple[list[int], list[int]]:
    if which == "tokenizer":
        return tokenizer.around_text()
    bos = tokenizer.named.bos_token_id
    if which == "bos" and bos is None:
        raise ConfigError(
            "the template begins with a BOS token, but the tokenizer has none. Copy the "
            "tokenizer's files again, or set model.template"
        )
    if (
        which == "none"
        or bos is None
        or (which == "bos_unless_pad" and bos == tokenizer.named.pad_token_id)
    ):
        return [], []
    return [bos], []
