"""Checks of loaded weights and of the tokenizer against them."""

from __future__ import annotations

import re

import torch

from reranker_core.models import LoadedModel, PairFormat
from reranker_core.preflight.report import Check

# In the file, not used by the model, and harmless: tables that older transformers saved, and the
# pooler of a base model whose classification head does without it.
_HARMLESS = re.compile(r"(^|\.)(position_ids|token_type_ids|pooler\.dense\.(weight|bias))$")
_SHOWN_KEYS = 4


def check_weights(loaded: LoadedModel) -> list[Check]:
    """Every weight comes from the checkpoint, fits, and is finite."""
    unexpected = tuple(key for key in loaded.unexpected if not _HARMLESS.search(key))
    broken = tuple(
        name for name, weight in loaded.model.state_dict().items() if not _is_finite(weight)
    )
    return [
        _keys(
            "none_missing",
            loaded.missing,
            "no weight missing from the checkpoint",
            "Missing weights are drawn at random, so scores would differ from run to run. Is this "
            "an embedding or base model? Use the reranker's own checkpoint.",
        ),
        _keys(
            "none_unexpected",
            unexpected,
            "no weight in the checkpoint that the model does not use",
            "The file was saved from another class or with a prefix. Save it again from the model "
            "that scores, e.g. with save_pretrained.",
        ),
        _keys(
            "shapes",
            loaded.mismatched,
            "every weight in the shape that config.json asks for",
            "config.json and weights belong to different models; copy both from one place.",
        ),
        _keys(
            "finite",
            broken,
            "no NaN or Inf in any weight",
            "The checkpoint is damaged or training diverged; take an earlier one.",
        ),
    ]


def check_tokenizer(pair_format: PairFormat, model: torch.nn.Module) -> list[Check]:
    """The tokenizer's ids fit the embedding table."""
    rows = model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    largest = max(pair_format.tokenizer.get_vocab().values())
    fits = largest < rows
    return [
        Check(
            "tokenizer",
            "fits_vocabulary",
            fits,
            f"largest token id {largest}, {rows} embeddings",
            "every token id below the number of embeddings",
            "" if fits else "Tokenizer and weights belong to different models.",
        )
    ]


def _keys(name: str, keys: tuple[str, ...], expected: str, remedy: str) -> Check:
    shown = ", ".join(keys[:_SHOWN_KEYS]) + (", …" if len(keys) > _SHOWN_KEYS else "")
    measured = f"{len(keys)} keys: {shown}" if keys else "none"
    return Check("weights", name, not keys, measured, expected, remedy if keys else "")


def _is_finite(weight: torch.Tensor) -> bool:
    return not weight.is_floating_point() or bool(torch.isfinite(weight).all())
