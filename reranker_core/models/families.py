"""The table of families, and how the family of a checkpoint is found."""

from __future__ import annotations

from reranker_core.config import ModelConfig, Template
from reranker_core.errors import ConfigError
from reranker_core.models import classifier, encoder, layerwise, lightweight, llm, modular, seq2seq
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.cutoff import runs_own_code
from reranker_core.models.family import Family
from reranker_core.models.own_words import template_for
from reranker_core.models.templates import OF_CHECKPOINT, TEMPLATES, choose_template

FAMILIES: dict[str, Family] = {
    "modular": modular,
    "encoder": encoder,
    "llm": llm,
    "layerwise": layerwise,
    "lightweight": lightweight,
    "seq2seq": seq2seq,
    "classifier": classifier,
}

# The class of transformers that loads a family, as auto_map in config.json names it.
AUTO_CLASSES = {
    "modular": "AutoModel",
    "encoder": "AutoModelForSequenceClassification",
    "llm": "AutoModelForCausalLM",
    "layerwise": "AutoModelForCausalLM",
    "lightweight": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "classifier": "AutoModelForSequenceClassification",
}


def recognise(checkpoint: Checkpoint, configured: str) -> str:
    """Name of a checkpoint's family: `configured` (`model.family`), or with `auto` the first one in
    `FAMILIES` that fits. If none fits, it is `encoder`, and preflight reports what the model is.
    """
    if configured != "auto":
        return configured
    return _fitting(checkpoint) or "encoder"


def _fitting(checkpoint: Checkpoint) -> str | None:
    return next((name for name, family in FAMILIES.items() if family.fits(checkpoint)), None)


def choose(checkpoint: Checkpoint, model: ModelConfig) -> tuple[str, str | Template, str]:
    """Family and template of a checkpoint, and one line for log and manifest that says why.

    Returns:
        The family's name; the value of `model.template` that selects the same template (`auto` for
        families without templates); the line.

    Raises:
        ConfigError: a key is set that has no effect for this family, or the checkpoint's chat
            template is not supported.
        PreflightRefused: the checkpoint names its answer tokens, and its tokenizer cannot be
            loaded.

    """
    family = recognise(checkpoint, model.family)
    refuse_unused(family, model)
    why = (
        "as configured"
        if model.family not in ("auto", _fitting(checkpoint))
        else "modules.json lists a head"
        if family == "modular"
        else f"config.json says {checkpoint.architecture or 'nothing'}"
    )
    if family in _LAYERED and runs_own_code(checkpoint, model):
        why += ", in the checkpoint's own code"
    line = f"family {family} ({why})"
    if family not in PROMPTED:
        return family, model.template, line
    name, reason = choose_template(checkpoint, model, family)
    template: str | Template = name
    if isinstance(model.template, Template):
        template = model.template
    elif name == OF_CHECKPOINT:
        name, found = template_for(checkpoint, model, family)
        template = name if found == TEMPLATES.get(name) else found
    return family, template, f"{line}, template {name} ({reason})"


_LAYERED = ("layerwise", "lightweight")
PROMPTED = ("llm", "layerwise", "lightweight", "seq2seq", "classifier")
# Keys of `model` that only some families heed.
_HEEDED = {
    "template": PROMPTED,
    "prompt": (*PROMPTED, "encoder", "modular"),
    "instruction": PROMPTED,
    "label": ("encoder", "classifier", "modular"),
    "cutoff_layer": _LAYERED,
    "compress_layers": ("lightweight",),
    "compress_ratio": ("lightweight",),
    "lightweight_head": ("lightweight",),
}


def refuse_unused(family: str, model: ModelConfig) -> None:
    """Check that each key that is set has an effect for the family.

    Raises:
        ConfigError: a key has no effect.

    """
    for key, families in _HEEDED.items():
        value, default = getattr(model, key), ModelConfig.model_fields[key].default
        if value != default and family not in families:
            raise ConfigError(
                f"model.{key}={value} has no effect for a reranker of the family '{family}', "
                f"only for {', '.join(families)}. Remove it, or set model.family"
            )
