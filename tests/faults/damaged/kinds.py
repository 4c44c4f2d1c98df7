"""All kinds of damage, by what is damaged."""

from tests.faults.checkpoint_edits import Build
from tests.faults.damaged import (
    adapters,
    attention,
    embeddings,
    layers,
    mixtures,
    precision,
    settings,
    sound,
    spelling,
    untrained,
    vocabulary,
    weight_file,
)

DAMAGED: dict[str, dict[str, Build]] = {
    "Embeddings": embeddings.KINDS,
    "Layers": layers.KINDS,
    "Attention": attention.KINDS,
    "Untrained parts, other scales": untrained.KINDS,
    "Noise, rounding, pruning": precision.KINDS,
    "Bytes of the weight file": weight_file.KINDS,
    "Tokenizer": {**vocabulary.KINDS, **spelling.KINDS},
    "config.json": settings.KINDS,
    "Two trainings in one folder": mixtures.KINDS,
    "Adapters": adapters.KINDS,
}
SOUND = sound.KINDS
