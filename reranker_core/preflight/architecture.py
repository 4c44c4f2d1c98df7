"""Checks of what a checkpoint says it is."""

from __future__ import annotations

import re

from reranker_core.checks import Check
from reranker_core.config import ModelConfig
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.families import FAMILIES, PROMPTED, recognise
from reranker_core.models.labels import describe_labels, label_names, relevant_label
from reranker_core.models.loading import has_head
from reranker_core.models.modules import BODY_FILE, LIST_FILE, takes_messages
from reranker_core.models.templates import has_own_words
from reranker_core.models.unheeded import is_known, unheeded

_REMEDY = (
    "Its head would be initialised at random, and the scores would be noise. Use the reranker "
    "of the same model series (for bge-m3: bge-reranker-v2-m3), or the last checkpoint of the "
    "training."
)
_NOT_NAMED = (
    "Copy config.json again from the model's own repository. Or add `architectures` with the class "
    "that the weights were saved from, such as BertForSequenceClassification."
)
_OTHER_KIND = (
    "This job scores pairs of texts, one by one. Models that rank a list of passages at once, that "
    "read images, or that have another task are not supported. Use another reranker "
    "(docs/families.md)."
)
_UNKNOWN = "not a supported reranker"
_LISTS_OR_IMAGES = re.compile(r"ForRanking|VL|Vision|Image|Multimodal|Omni")
_MESSAGES = f"{BODY_FILE} or the tokenizer puts pairs into a chat template"
_PROMPTED = "Write what the chat template makes of a pair as model.template."
_JOINED = (
    "Chat templates are supported only for the families of language models. This model would get "
    "query and passage joined, as BERT does. If it was trained with joined pairs, list only `text` "
    f"in modality_config of {BODY_FILE}. If it was trained with the chat template, score it with "
    "sentence-transformers."
)
_UNHEEDED = (
    "The scores would differ from those that the model was trained for. Supported is a Transformer "
    "of sentence-transformers in the folder itself: alone, with LogitScore, or with Pooling, then "
    "Dense, LayerNorm and Dropout in any order, then a final Dense that writes `scores`. Score "
    "other models with sentence-transformers."
)


def check_architecture(checkpoint: Checkpoint, model: ModelConfig) -> list[Check]:
    """A model with one score a pair."""
    return [
        _check_kind(checkpoint, model),
        _check_pooling(checkpoint),
        _check_modules(checkpoint, model),
        _check_labels(checkpoint, model),
    ]


def _check_kind(checkpoint: Checkpoint, model: ModelConfig) -> Check:
    name = checkpoint.architecture
    family = recognise(checkpoint, model.family)
    headed = model.family == "auto" and checkpoint.has_head_in_modules
    return Check(
        "architecture",
        "has_a_score",
        FAMILIES[family].fits(checkpoint) or headed,
        f"{LIST_FILE} of {checkpoint.source} lists a head"
        if family == "modular" or headed
        else f"config.json of {checkpoint.source} says {name}, {_kind(name)}"
        if name
        else f"config.json of {checkpoint.source} names no class (architectures)",
        "a reranker of a supported family: …ForSequenceClassification, …ForCausalLM, a T5, or a "
        "head in the modules of sentence-transformers",
        _remedy(checkpoint, model),
    )


def _remedy(checkpoint: Checkpoint, model: ModelConfig) -> str:
    """What to do with a checkpoint that is of no family, or not of the configured one."""
    name = checkpoint.architecture
    found = recognise(checkpoint, "auto")
    if model.family != "auto" and FAMILIES[found].fits(checkpoint):
        return (
            f"Remove model.family={model.family}: this checkpoint is of the family '{found}', "
            "which is found without this key."
        )
    if not name:
        return _NOT_NAMED
    if _LISTS_OR_IMAGES.search(name) or _kind(name) == _UNKNOWN:
        return _OTHER_KIND
    return _REMEDY


def _check_pooling(checkpoint: Checkpoint) -> Check:
    """Embedding models of sentence-transformers say so themselves, whatever their class."""
    pools = _pools(checkpoint)
    chain = ", ".join(module.kind for module in checkpoint.modules)
    return Check(
        "architecture",
        "no_embedding_model",
        not pools,
        f"{LIST_FILE} pools tokens into an embedding: {chain}" if pools else "none",
        "a model that scores pairs",
        _REMEDY,
    )


def _pools(checkpoint: Checkpoint) -> bool:
    try:
        listed = (checkpoint.folder / LIST_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        listed = ""
    return ".Pooling" in listed and not checkpoint.has_head_in_modules


def _check_modules(checkpoint: Checkpoint, model: ModelConfig) -> Check:
    """What sentence-transformers would do to make a score is done here, too."""
    problems, remedy = [] if _pools(checkpoint) else unheeded(checkpoint), _UNHEEDED
    if not problems and is_known(checkpoint.modules) and takes_messages(checkpoint.folder):
        family = recognise(checkpoint, model.family)
        if family not in PROMPTED:
            problems, remedy = [_MESSAGES], _JOINED
        elif not has_own_words(checkpoint) and model.template == "auto":
            problems, remedy = [_MESSAGES], _PROMPTED
    return Check(
        "architecture",
        "modules_known",
        not problems,
        "; ".join(problems) or "all are supported",
        "modules and options that are supported",
        remedy,
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
    return _UNKNOWN


def _check_labels(checkpoint: Checkpoint, model: ModelConfig) -> Check:
    if not (has_head(checkpoint) or checkpoint.has_head_in_modules):
        return Check("architecture", "one_label", True, "no labels", "1")
    names = label_names(checkpoint)
    label = relevant_label(checkpoint, model)
    known = "" if label is None else f"; the score is the log-odds of {label} ({names[label]})"
    return Check(
        "architecture",
        "one_label",
        len(names) == 1 or label is not None,
        describe_labels(names) + known,
        "1 label; or 2 labels, one of them named relevant; or model.label set",
        "A reranker computes one score for each pair. If one of these labels means that the "
        "passage is relevant, set model.label to its number. The score is then the log-odds of "
        "this label. If the head has only one output, correct id2label in "
        "config.json so that it has one entry. If this is a "
        "classifier for another task, use a reranker instead.",
    )
