"""The checks that need nothing but the checkpoint's folder."""

from __future__ import annotations

from reranker_core.checks import Check
from reranker_core.config import ModelConfig
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.families import recognise, refuse_unused
from reranker_core.preflight.architecture import check_architecture
from reranker_core.preflight.files import check_files
from reranker_core.preflight.formats import refuse_without_model
from reranker_core.preflight.prompt import check_template
from reranker_core.preflight.tokenizer import check_vocabulary_file


def check_checkpoint(
    checkpoint: Checkpoint, model: ModelConfig, golden: str | None = None
) -> list[Check]:
    """Files, vocabulary, architecture, template; it takes seconds, and runs on the driver too.

    `golden`: the value of `preflight.golden`, which quantised weights need.

    Raises:
        ConfigError: the folder holds nothing of a model, or a key is set that the checkpoint's
            family does not heed.

    """
    refuse_without_model(checkpoint)
    found = check_files(checkpoint, model, golden)
    if not checkpoint.config:
        return found
    refuse_unused(recognise(checkpoint, model.family), model)
    return [
        *found,
        check_vocabulary_file(checkpoint),
        *check_architecture(checkpoint, model),
        check_template(checkpoint, model),
    ]
