"""Checks of the input's text: what stands around query and passage, as in training.

A checkpoint can say how it was trained in a file `reranker.json` beside its weights:

    {"layout": "A: {query} B: {passage} …", "answers": {"Yes": 1.0}, "truncation": "only_passage"}

Any of these keys, and of those in the fingerprint's `format`, may be given; those that are must be
what is in use. So must be what sentence-transformers' files say: the answers of `LogitScore`, the
chat template, and the prompt that is used by default.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reranker_core.checks import Check
from reranker_core.config import ModelConfig
from reranker_core.encode.formats.pair_format import PairFormat
from reranker_core.errors import ConfigError
from reranker_core.models.chat_template import answers_of, whole
from reranker_core.models.checkpoint import SIDECAR, Checkpoint
from reranker_core.models.families import PROMPTED, recognise
from reranker_core.models.modules import SETTINGS_FILE, default_prompt
from reranker_core.models.own_words import own_template
from reranker_core.models.templates import choose_template, has_own_words, is_guessed

_ANSWERS, _CHAT = "1_LogitScore", "chat_template.jinja"
_SHOWN = 160


def check_template(checkpoint: Checkpoint, model: ModelConfig) -> Check:
    """It is known which prompt a language model was trained with.

    No file tells a base language model from a reranker that was made of it.
    """
    family = recognise(checkpoint, model.family)
    if family not in PROMPTED:
        return Check("prompt", "template_known", True, "no template", "none")
    name, reason = choose_template(checkpoint, model, family)
    told = "layout" in _read(checkpoint.folder / SIDECAR)
    known = told or not is_guessed(checkpoint, model, family)
    measured = f"{name} ({SIDECAR} names a layout)" if told else f"{name} ({reason})"
    return Check(
        "prompt",
        "template_known",
        known,
        measured if known else f"unknown; the default would be {measured}",
        f"a template set by the configuration, by the name of the checkpoint, or by its {SIDECAR}",
        "If this is a reranker, set model.template to the template that it was trained with: a "
        "built-in one (docs/families.md, Templates), or your own. With any other template, the "
        f"scores have no meaning. If this {checkpoint.architecture} is a base language model, it "
        "was never trained to rank. Use a reranker that was trained from it.",
    )


def check_prompt(
    checkpoint: Checkpoint, model: ModelConfig, pair_format: PairFormat, instructed: bool
) -> list[Check]:
    """The prompt in use is known, and is the one of training where the checkpoint says so.

    `instructed`: rows bring their own instructions, so a default one is not looked for.
    """
    used = {
        "layout": pair_format.layout,
        "answers": {str(a.text or a.ids[0]): a.weight for a in pair_format.answers},
        **pair_format.record,
    }
    differences = [
        *_differences(checkpoint.folder, used),
        *_other_words(checkpoint, model, pair_format),
    ]
    if not instructed and model.prompt is None and model.instruction is None:
        differences += _unused_prompt(checkpoint, pair_format)
    files = (SIDECAR, SETTINGS_FILE, *([_ANSWERS] if has_own_words(checkpoint) else []))
    told = [name for name in files if (checkpoint.folder / name).exists()]
    return [
        Check(
            "prompt",
            "as_trained",
            not differences,
            "; ".join(differences) or f"in use: {_short(pair_format.layout)}",
            f"the prompt used in training, according to {' and '.join(told) or 'nothing'} in the "
            "checkpoint",
            "Remove model.template, so that the checkpoint's own template is used. Or set "
            "model.template, model.prompt or model.instruction to the values used in training. "
            "With another prompt, the scores have no meaning.",
        )
    ]


def _differences(folder: Path, used: dict[str, Any]) -> Iterator[str]:
    for key, trained in _read(folder / SIDECAR).items():
        if key in used and used[key] != trained:
            yield f"{key} is {_short(used[key])}, {SIDECAR} says {_short(trained)}"


def _other_words(
    checkpoint: Checkpoint, model: ModelConfig, pair_format: PairFormat
) -> Iterator[str]:
    """In what the template in use differs from the checkpoint's chat template and answers."""
    if not has_own_words(checkpoint):
        return
    used = {str(a.ids[0]): a.weight for a in pair_format.answers if a.ids}
    trained = {str(id_): weight for id_, weight in (answers_of(checkpoint) or {}).items()}
    if used != trained:
        yield f"answers are {_short(used)}, {_ANSWERS} says {_short(trained)}"
    try:
        _, own = own_template(checkpoint, model, recognise(checkpoint, model.family))
    except ConfigError:
        return  # it cannot be followed, which is why another one is configured
    layout = whole(own, "{query}", "{passage}")
    if layout not in pair_format.layout:
        yield f"layout is {_short(pair_format.layout)}, {_CHAT} says {_short(layout)}"


def _unused_prompt(checkpoint: Checkpoint, pair_format: PairFormat) -> Iterator[str]:
    default = default_prompt(checkpoint.folder)
    if default is not None and default.strip() not in pair_format.layout:
        yield f"{_short(default)} is not in the input, {SETTINGS_FILE} prepends it"


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
