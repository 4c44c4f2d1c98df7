"""The check of Python code that comes with a checkpoint."""

from __future__ import annotations

from reranker_core.checks import Check
from reranker_core.config import ModelConfig
from reranker_core.models.checkpoint import BUILT_HERE, Checkpoint
from reranker_core.models.families import AUTO_CLASSES, FAMILIES, recognise
from reranker_core.models.own_code import runs_code


def check_code(checkpoint: Checkpoint, model: ModelConfig) -> Check:
    """Code that is needed is allowed and in the folder; code that is not run is reported."""
    foreign = checkpoint.foreign_code
    if foreign and (checkpoint.needs_remote_code or runs_code(checkpoint, model)):
        return Check(
            "files",
            "no_remote_code",
            False,
            f"auto_map names code of {', '.join(foreign)}, which is not in {checkpoint.source}",
            "code in the checkpoint's own folder, so that model.revision and model.digest pin it",
            f"Copy the .py files of {foreign[0]} into the checkpoint's folder, remove "
            f"'{foreign[0]}--' from auto_map in its JSON files, and set model.path to this "
            "folder. Or remove model.trust_remote_code, if transformers knows the model type.",
        )
    needed = checkpoint.needs_remote_code
    ignored = "" if model.trust_remote_code else _ignored_code(checkpoint, model)
    supported = FAMILIES[recognise(checkpoint, model.family)].fits(checkpoint)
    measured = f"config.json requires its own code ({checkpoint.config.get('model_type')})"
    return Check(
        "files",
        "no_remote_code",
        not needed or model.trust_remote_code,
        measured if needed else ignored or "none needed",
        "a model type that transformers or this job knows",
        "Read the .py files of the checkpoint, pin model.revision and model.digest, and set "
        "model.trust_remote_code=true."
        if supported
        else f"This job cannot score with {checkpoint.architecture or 'this model'}, with its code "
        "or without it. Use a reranker of a supported family (docs/families.md).",
        notable=bool(ignored),
    )


def _ignored_code(checkpoint: Checkpoint, model: ModelConfig) -> str:
    """Which code of the checkpoint is not run because transformers has a class of the same name."""
    if checkpoint.needs_remote_code or not checkpoint.names_own_code:
        return ""
    code = checkpoint.config["auto_map"].get(AUTO_CLASSES[recognise(checkpoint, model.family)])
    if code is None or checkpoint.architecture in BUILT_HERE:
        return ""
    return (
        f"the checkpoint's own code ({code}) is not run: transformers' {checkpoint.architecture} "
        "computes the scores. If they differ from the author's, set model.trust_remote_code=true"
    )
