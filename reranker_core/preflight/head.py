"""Checks that the head was trained. The head are the layers that turn a base model into a reranker.

The weights alone can show an untrained head. transformers initialises matrices with a known
standard deviation and biases with 0; torch.nn.Linear draws uniformly from +-1 / sqrt(inputs). A few
training steps change both. A bias can stay 0 if the loss does not depend on it, so a zero bias
alone is no evidence.

If the weights leave it open, the canaries decide. One direction in the input of the head separates
relevant from irrelevant canaries. Training aligns the head with this direction. For a random head,
the cosine between both, multiplied by the square root of the width, is approximately normal with
standard deviation 1, whatever the body is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from reranker_core.checks import Check
from reranker_core.models.family import LoadedModel
from reranker_core.preflight.canaries import ENGLISH
from reranker_core.preflight.probe import Probe

# 3 of 100,000 drawn heads reach it; the demo's trained one has 12.0 of the 13.9 that its width
# allows.
ALIGNED = 4.0
# Each text once in either list, so that what only tells of the texts themselves cancels out.
IRRELEVANT = tuple((query, ENGLISH[i - 1][1]) for i, (query, _) in enumerate(ENGLISH))
_REMEDY = (
    "The head was saved with its random initial values, before training. Use the last "
    "checkpoint of the training."
)


def check_head(loaded: LoadedModel) -> Check:
    """Check the weights of the head."""
    missing = bool(loaded.head) and any(name.startswith(loaded.head) for name in loaded.missing)
    how = "" if missing else _untouched(loaded)
    return Check(
        "weights",
        "head_trained",
        not how,
        how
        or ("not checked: weights of the head are missing" if missing else "not as initialised"),
        "a trained head",
        _REMEDY,
    )


def check_alignment(loaded: LoadedModel, probe: Probe) -> list[Check]:
    """Check the direction of the head against its input for the canaries. No check if the weights
    differ from an initialisation, or if no single layer of the head computes the score.
    """
    label = _label(loaded.model)
    layers = [m for n, m in loaded.model.named_modules() if _makes_score(loaded, n, m, label)]
    if not layers or not _drawn(layers[-1].weight, loaded.model.config):
        return []
    layer = layers[-1]
    read = probe.read_by(layer, [*ENGLISH, *IRRELEVANT])
    weights = towards(layer.weight.detach().cpu().float().numpy(), label)
    found = alignment(weights, *np.split(read, 2))
    return [
        Check(
            "meaning",
            "head_trained",
            found >= ALIGNED,
            "its weights have the standard deviation of a random initialisation; it matches the "
            "direction that separates relevant from irrelevant canaries by only "
            f"{found:.1f} standard deviations more than an average random head",
            f"at least {ALIGNED:g} standard deviations, or weights that are not as initialised",
            _REMEDY,
        )
    ]


def towards(rows: np.ndarray, label: int | None) -> np.ndarray:
    """Direction in which the score of a head grows, shape (width,).

    Args:
        rows: weights of the head, shape (labels, width).
        label: the label that means relevant; None for a head with one label. With several labels
            the mean of the other rows is subtracted.

    """
    if label is None:
        return np.asarray(rows[0])
    return np.asarray(rows[label] - np.delete(rows, label, axis=0).mean(0))


def alignment(weights: np.ndarray, relevant: np.ndarray, irrelevant: np.ndarray) -> float:
    """Alignment of a head with the direction from irrelevant to relevant, in standard deviations of
    random heads.

    Args:
        weights: of the head, shape (width,).
        relevant: inputs of the head for relevant pairs, shape (n, width).
        irrelevant: the same for irrelevant pairs, shape (n, width).

    """
    direction = relevant.mean(0) - irrelevant.mean(0)
    norms = float(np.linalg.norm(weights) * np.linalg.norm(direction))
    return float(weights @ direction) / norms * len(weights) ** 0.5 if norms else 0.0


def _untouched(loaded: LoadedModel) -> str:
    """Why the weights of the head are those of an initialisation, or ''."""
    head = {n: p for n, p in loaded.model.named_parameters() if n.startswith(loaded.head)}
    if not loaded.head or not head:
        return ""
    biases = [p for n, p in head.items() if n.endswith("bias")]
    matrices = [p for p in head.values() if p.dim() == 2]
    if any(not p.any() for p in matrices):
        return "a weight matrix of the head is all 0"
    if matrices and all(_drawn_evenly(p) for p in matrices):
        return (
            "all weights of the head are uniformly distributed within torch's range for new layers"
        )
    unbiased = bool(biases) and not any(p.any() for p in biases)
    if unbiased and all(_drawn_normally(p, loaded.model.config) for p in matrices):
        return (
            "every bias of the head is exactly 0, and its weights have the standard deviation "
            "of a random initialisation"
        )
    return ""


def _label(model: Any) -> int | None:
    """Which row of the head means relevant; None where there is but one."""
    label: int | None = getattr(model, "label", getattr(model.config, "label", None))
    return label


def _makes_score(
    loaded: LoadedModel, name: str, module: torch.nn.Module, label: int | None
) -> bool:
    prefixes = tuple(prefix.rstrip(".") for prefix in loaded.head)
    rows = getattr(module, "out_features", 0)
    return name.startswith(prefixes) and (rows == 1 if label is None else rows > label and rows > 1)


def _drawn(matrix: torch.Tensor, config: Any) -> bool:
    return _drawn_evenly(matrix) or _drawn_normally(matrix, config)


def _drawn_evenly(matrix: torch.Tensor) -> bool:
    inputs = matrix.shape[1] ** 0.5
    bound, deviation = matrix.abs().max().item() * inputs, matrix.std().item() * inputs
    least = min(0.95, 0.001 ** (1 / matrix.numel()))  # 1 in 1,000 small matrices stays below it
    return least < bound <= 1 and abs(deviation - 3**-0.5) < _near(matrix) * 3**-0.5


def _drawn_normally(matrix: torch.Tensor, config: Any) -> bool:
    usual = {getattr(config, "initializer_range", 0.02), matrix.shape[1] ** -0.5}
    deviation = matrix.float().std().item()
    return any(abs(deviation - known) < _near(matrix) * known for known in usual)


def _near(matrix: torch.Tensor) -> float:
    """Three standard errors of a deviation, as a share of it."""
    return 3 / (2 * matrix.numel()) ** 0.5
