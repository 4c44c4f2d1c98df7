"""Loading checkpoints that preflight may refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from reranker_core.config import PreflightChecks
from reranker_core.errors import PreflightRefused
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from tests import damage
from tests.tables import config

HEAD = "classifier.weight"
INNER = "bert.encoder.layer.1.output.dense.weight"


def load(model: Path, *overrides: str) -> Scorer:
    """Random weights do not rank, so `meaning` is off unless a test sets it."""
    relaxed = "preflight.checks.meaning=off"
    settings = ("model.dtype=float32", "model.device=cpu", relaxed, *overrides)
    return load_scorer(config("in", "out", *settings, model=model))


def refused(model: Path, *overrides: str) -> PreflightRefused:
    with pytest.raises(PreflightRefused) as caught:
        load(model, *overrides)
    assert caught.value.exit_code == 3
    return caught.value


def failures(error: PreflightRefused) -> set[str]:
    return {
        f"{check['group']}/{check['name']}"
        for check in error.report["checks"]
        if not check["passed"]
    }


def only(*groups: str) -> list[str]:
    """Overrides that relax all groups but these."""
    return [f"preflight.checks.{g}=warn" for g in PreflightChecks.model_fields if g not in groups]


def zero_head(weights: damage.Weights) -> None:
    weights[HEAD].zero_()


def overflow(weights: damage.Weights) -> None:
    weights["bert.encoder.layer.0.output.dense.weight"] *= 8e3
