"""Checks of the input's text: what stands around query and passage, as in training.

A checkpoint can say how it was trained in a file `reranker.json` beside its weights:

    {"layout": "A: {query} B: {passage} …", "answers": {"Yes": 1.0}, "truncation": "only_passage"}

Any of these keys, and of those in the fingerprint's `format`, may be given; those that are must be
what is in use. sentence-transformers' own file names a prompt that it would prepend.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reranker_core.checks import Check
from reranker_core.config import ModelConfig
from reranker_core.encode.formats.pair_format import PairFormat
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.families import recognise
from reranker_core.models.templates import choose_template, is_guessed

SIDECAR = "reranker.json"
_SENTENCE_TRANSFORMERS = "config_sentence_transformers.json"
_SHOWN = 160


def check_template(checkpoint: Checkpoint, model: ModelConfig) -> Check:
    """It is known which prompt a language model was trained with.

    No file tells a base language model from a reranker that was made of it.
    """
    family = recognise(checkpoint, model.family)
    if family == "encoder":
        return Check("prompt", "template_known", True, "no template", "none")
    name, reason = choose_template(checkpoint, model, family)
    told = "layout" in _read(checkpoint.folder / SIDECAR)
    return Check(
        "prompt",
        "template_known",
        told or not is_guessed(checkpoint, model, family),
        f"{name} ({SIDECAR} names a layout)" if told else f"{name} ({reason})",
        f"named by the configuration, by the name of the checkpoint, or by its {SIDECAR}",
        f"If this is a reranker, say what it was trained with: model.template={name}, another of "
        f"the built-in templates, or one of your own. If {checkpoint.architecture} is a base "
        "language model, use the reranker that was made of it: this one was never trained to rank.",
    )


def check_prompt(checkpoint: Checkpoint, pair_format: PairFormat) -> list[Check]:
    """The prompt in use is known, and is the one of training where the checkpoint says so."""
    used = {
        "layout": pair_format.layout,
        "answers": {str(a.text or a.ids[0]): a.weight for a in pair_format.answers},
        **pair_format.record,
    }
    differences = list(_differences(checkpoint.folder, used))
    told = [n for n in (SIDECAR, _SENTENCE_TRANSFORMERS) if (checkpoint.folder / n).exists()]
    return [
        Check(
            "prompt",
            "as_trained",
            not differences,
            "; ".join(differences) or f"in use: {_short(pair_format.layout)}",
            f"the prompt of training, as {' and '.join(told) or 'nothing'} in the checkpoint says",
            "Set model.template, model.prompt or model.instruction to what the model was trained "
            "with. A reranker that is asked another way gives nonsense.",
        )
    ]


def _differences(folder: Path, used: dict[str, Any]) -> Iterator[str]:
    for key, trained in _read(folder / SIDECAR).items():
        if key in used and used[key] != trained:
            yield f"{key} is {_short(used[key])}, {SIDECAR} says {_short(trained)}"
    other = _read(folder / _SENTENCE_TRANSFORMERS)
    prompts = other.get("prompts")
    default = prompts.get(other.get("default_prompt_name")) if isinstance(prompts, dict) else None
    if isinstance(default, str) and default.strip() and default.strip() not in used["layout"]:
        yield f"{_short(default)} is not in the input, {_SENTENCE_TRANSFORMERS} prepends it"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        content = None
    return content if isinstance(content, dict) else {"layout": f"unreadable: {path.name}"}


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
