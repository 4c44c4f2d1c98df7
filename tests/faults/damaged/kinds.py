"""All kinds of damage, by what is damaged."""

from tests.faults.checkpoint_edits import Build
from tests.faults.damaged import (
    embeddings,
    layers,
    mixtures,
    precision,
    settings,
    sound,
    vocabulary,
    weight_file,
)

DAMAGED: dict[str, dict[str, Build]] = {
    "Embeddings": embeddings.KINDS,
    "Layers": layers.KINDS,
    "Noise, rounding, pruning": precision.KINDS,
    "Bytes of the weight file": weight_file.KINDS,
    "Tokenizer": vocabulary.KINDS,
    "config.json": settings.KINDS,
    "Two trainings in one folder": mixtures.KINDS,
}
SOUND = sound.KINDS
