"""Checks of what a checkpoint says it is."""

from __future__ import annotations

from reranker_core.checks import Check
from reranker_core.config import ModelConfig
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.families import FAMILIES, recognise

_REMEDY = (
    "Its head would be drawn at random, and scores would be noise. Use the reranker that goes with "
    "it (for bge-m3: bge-reranker-v2-m3), or the checkpoint that training wrote last."
)


def check_architecture(checkpoint: Checkpoint, model: ModelConfig) -> list[Check]:
    """A model with one score a pair."""
    return [_check_kind(checkpoint, model), _check_pooling(checkpoint), _check_labels(checkpoint)]


def _check_kind(checkpoint: Checkpoint, model: ModelConfig) -> Check:
    name = checkpoint.architecture
    family = recognise(checkpoint, model.family)
    return Check(
        "architecture",
        "has_a_score",
        FAMILIES[family].fits(name),
        f"config.json of {checkpoint.source} says {name or 'nothing'}, {_kind(name)}",
        "a reranker of a known family: …ForSequenceClassification, …ForCausalLM, a T5",
        _REMEDY,
    )


def _check_pooling(checkpoint: Checkpoint) -> Check:
    """Embedding models of sentence-transformers say so themselves, whatever their class."""
    try:
        modules = (checkpoint.folder / "modules.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        modules = ""
    return Check(
        "architecture",
        "no_embedding_model",
        ".Pooling" not in modules,
        "modules.json pools tokens into an embedding" if ".Pooling" in modules else "none",
        "a model that scores pairs",
        _REMEDY,
    )


def _kind(architecture: str) -> str:
    if architecture.endswith("ForSequenceClassification"):
        return "a classifier"
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "a language model"
    if architecture.endswith("ForMaskedLM"):
        return "a masked language model without a classification head"
    if architecture.endswith("Model"):
        return "a base or embedding model without a classification head"
    return "no reranker that is known here"


def _check_labels(checkpoint: Checkpoint) -> Check:
    config = checkpoint.config
    if not checkpoint.architecture.endswith("ForSequenceClassification"):
        return Check("architecture", "one_label", True, "no labels", "1")
    # transformers' default, where config.json names none, is two.
    labels = len(config.get("id2label") or {}) or config.get("num_labels") or 2
    return Check(
        "architecture",
        "one_label",
        labels == 1,
        f"{labels} labels",
        "1",
        "A reranker has one score a pair. If this is a classifier, use a reranker; if it was "
        "trained with one label, set id2label in its config.json.",
    )
