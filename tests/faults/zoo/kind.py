"""What a kind of checkpoint is, and how it is built and loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reranker_core.config import Config, load_config
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.preflight.golden import record
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from tests import decoder_checkpoints
from tests.faults.checkpoint_edits import DEMO, Build

RANDOM = ("preflight.checks.meaning=off",)  # random weights do not rank


@dataclass(frozen=True)
class Kind:
    """A way in which a checkpoint can be broken, or unusual.

    Attributes:
        what: in words.
        check: the check that refuses it, group/name; '' for one that must be accepted.
        build: makes it, from a good one in the first folder, in the second.
        base: which good one.
        settings: overrides that it is loaded with.

    """

    what: str
    check: str
    build: Build
    base: str = "encoder"
    settings: tuple[str, ...] = ()


def bases(folder: Path) -> dict[str, Path]:
    """The good checkpoints: a trained encoder, and language models with random weights."""
    return {
        "encoder": DEMO,
        "golden": _golden(folder / "golden.json"),
        "gemma": decoder_checkpoints.gemma(folder / "gemma"),
        "llama": decoder_checkpoints.llama(folder / "llama"),
        "qwen3": decoder_checkpoints.qwen3(folder / "qwen3"),
        "monot5": decoder_checkpoints.monot5(folder / "monot5"),
        "qwen3_classifier": decoder_checkpoints.qwen3_classifier(folder / "qwen3_classifier"),
    }


def load(kind: Kind, bases: dict[str, Path], folder: Path, *settings: str) -> Scorer:
    """Build a kind and load it. Raises PreflightRefused."""
    kind.build(bases[kind.base], folder)
    random = () if kind.base == "encoder" else RANDOM
    known = {"golden": str(bases["golden"]), "digest": open_checkpoint(_config(DEMO).model).digest}
    own = list(kind.settings)
    for name, value in known.items():
        own = [text.replace(f"{{{name}}}", value) for text in own]
    return load_scorer(_config(folder, *random, *own, *settings))


def _golden(path: Path) -> Path:
    record(load_scorer(_config(DEMO)).report, str(path))
    return path


def _config(model: Path, *settings: str) -> Config:
    paths = ("input.path=in", "output.path=out", f"model.path={model}")
    return load_config(None, (*paths, "model.device=cpu", "model.dtype=float32", *settings))
