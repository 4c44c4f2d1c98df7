"""Reranker families: how a pair becomes ids, and how a forward becomes a score.

A new family is one new file in this folder and one line in `FAMILIES`; a new prompt for language
models is one entry in `templates.TEMPLATES`.
"""

from __future__ import annotations

from reranker_core.checkpoint import Checkpoint
from reranker_core.config import ModelConfig, Template
from reranker_core.models import encoder, llm
from reranker_core.models.family import Answer, Family, LoadedModel, PairFormat
from reranker_core.models.templates import choose_template

__all__ = [
    "FAMILIES",
    "Answer",
    "Family",
    "LoadedModel",
    "PairFormat",
    "choose",
    "recognise",
]

# The first that fits a checkpoint has it.
FAMILIES: dict[str, Family] = {
    "encoder": encoder,
    "llm": llm,
}


def recognise(checkpoint: Checkpoint, configured: str) -> str:
    """The name of a checkpoint's family, or the configured one.

    A checkpoint that fits none is given to `encoder`, whose preflight says what it is instead.
    """
    if configured != "auto":
        return configured
    fitting = [name for name, family in FAMILIES.items() if family.fits(checkpoint.architecture)]
    return fitting[0] if fitting else "encoder"


def choose(checkpoint: Checkpoint, model: ModelConfig) -> tuple[str, str | Template, str]:
    """Family and template of a checkpoint, and why these, in a line for log and manifest.

    The template is what `model.template` would be to name it; `auto` where there is none.
    """
    family = recognise(checkpoint, model.family)
    why = (
        "as configured"
        if model.family != "auto"
        else f"config.json says {checkpoint.architecture or 'nothing'}"
    )
    line = f"family {family} ({why})"
    if family == "encoder":
        return family, model.template, line
    name, reason = choose_template(checkpoint, model)
    template = model.template if isinstance(model.template, Template) else name
    return family, template, f"{line}, template {name} ({reason})"
