"""Reranker families: how a pair becomes ids, and how a forward becomes a score.

A new family is one new file in this folder and one line in `FAMILIES`.
"""

from __future__ import annotations

from reranker_core.checkpoint import Checkpoint
from reranker_core.models import encoder
from reranker_core.models.family import Family, LoadedModel, PairFormat

__all__ = ["FAMILIES", "Family", "LoadedModel", "PairFormat", "recognise"]

FAMILIES: dict[str, Family] = {
    "encoder": encoder,
}


def recognise(checkpoint: Checkpoint, configured: str) -> str:
    """The name of a checkpoint's family, or the configured one.

    A checkpoint that fits none is given to `encoder`, whose preflight says what it is instead.
    """
    if configured != "auto":
        return configured
    fitting = [name for name, family in FAMILIES.items() if family.fits(checkpoint.architecture)]
    return fitting[0] if fitting else "encoder"
