"""Options in the files of sentence-transformers that this package does not support.

A model with such an option is refused, because its scores would differ. Names and defaults of the
options are those of sentence_transformers 6.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.modules import BODY_FILE, LIST_FILE, Module, read_body

_BETWEEN = {"Dense", "LayerNorm", "Dropout"}
_VECTOR = "sentence_embedding"
_KNOWN = {
    "Pooling": ("embedding_dimension", "word_embedding_dimension", "pooling_mode"),
    "Dense": ("in_features", "out_features", "bias", "activation_function", "use_residual"),
    "LayerNorm": ("dimension",),
    "Dropout": ("dropout",),
    "LogitScore": ("true_token_id", "false_token_id"),
}
# What the Transformer computes in front of the module that stands behind it: its task, the name of
# what it gives, and the model's own name of that.
_TASKS = {
    "": ("sequence-classification", "scores", "logits"),
    "LogitScore": ("text-generation", "causal_logits", "logits"),
    "Pooling": ("feature-extraction", "token_embeddings", "last_hidden_state"),
}
# Options of the Transformer that are heeded, or change no score.
_OF_BODY = ("modality_config", "max_seq_length", "processing_kwargs", "unpad_inputs")
_OF_TEXTS = {"padding", "return_tensors", "return_attention_mask", "return_token_type_ids"}

# The defaults, written out; `logits_to_keep` is how many of a language model's last tokens it
# computes, of which only the last one is read.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "truncation": (True, "longest_first"),
    "logits_to_keep": (0, 1),
}


def is_known(modules: tuple[Module, ...]) -> bool:
    """Whether a list of modules is one that this package can compute."""
    kinds = [module.kind for module in modules]
    if kinds[:1] != ["Transformer"] or modules[0].path:
        return False
    if kinds[1:2] == ["Pooling"]:
        ends = kinds[-1] == "Dense" and modules[-1].makes_scores
        return ends and _BETWEEN.issuperset(kinds[2:])
    return kinds[1:] in ([], ["LogitScore"])


def unheeded(checkpoint: Checkpoint) -> list[str]:
    """Each module and option that is not supported, with its file; empty if all are supported."""
    modules = checkpoint.modules
    if not modules:
        listed = (checkpoint.folder / LIST_FILE).exists()
        return [f"{LIST_FILE} holds no list of modules"] if listed else []
    if not is_known(modules):
        chain = ", ".join(m.kind + (f" in {m.path}" if m.path else "") for m in modules)
        return [f"{LIST_FILE} lists {chain}"]
    outside = [m.path for m in modules if Path(m.path).is_absolute() or ".." in Path(m.path).parts]
    if outside:
        return [f"{LIST_FILE} names {outside[0]}, which is outside the checkpoint"]
    behind = modules[1].kind if len(modules) > 1 else ""
    found = list(_of_body(read_body(checkpoint.folder), *_TASKS[behind]))
    for module in modules[1:]:
        found += _of_module(module, module is modules[-1])
    return found


def _of_body(body: dict[str, Any], task: str, output: str, field: str) -> Iterator[str]:
    for name, value in body.items():
        expected = {"transformer_task": task, "module_output_name": output}.get(name)
        if name not in _OF_BODY and value not in (None, False, expected):
            yield f"{BODY_FILE}: {name}={value}"
    kinds = body.get("modality_config")
    if isinstance(kinds, dict):
        # Where messages are known, pairs of texts become messages.
        given = _mapping(kinds.get("message", kinds.get("text", {"method": None})))
        way = (given.get("method", "forward"), given.get("method_output_name", field))
        if way != ("forward", field):
            yield f"{BODY_FILE}: modality_config names {way[0]} and {way[1]} for texts"
    options = _mapping(body.get("processing_kwargs"))
    for kind in ("common", "text"):
        for name, value in _mapping(options.get(kind)).items():
            if name not in _OF_TEXTS and value not in _HARMLESS.get(name, ()):
                yield f"{BODY_FILE}: processing_kwargs.{kind}.{name}={value}"


def _of_module(module: Module, last: bool) -> Iterator[str]:
    names = {
        "module_input_name": "causal_logits" if module.kind == "LogitScore" else _VECTOR,
        "module_output_name": "scores" if last else _VECTOR,
        "include_prompt": True,
    }
    for name, value in module.settings.items():
        known = name in _KNOWN[module.kind] or name.startswith("pooling_mode_")
        expected = names.get(name, False)  # what is not known must be switched off
        if not known and value is not None and value != expected:
            yield f"{module.path}/config.json: {name}={value}"


def _mapping(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}
