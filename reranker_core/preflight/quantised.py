"""The check of quantised weights."""

from __future__ import annotations

from reranker_core.checks import Check
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.quantised import DEQUANTISED, quantisation

_UNQUANTISED = "Use the original checkpoint, from before the quantisation (see the model card)."


def check_quantisation(checkpoint: Checkpoint, golden: str | None) -> Check:
    """The weights are not quantised, or can be dequantised and compared with the original's scores.

    `golden`: the value of `preflight.golden`.
    """
    found = quantisation(checkpoint)
    problem, remedy = "", ""
    if found is not None and found.problem:
        problem = found.problem
        remedy = f"This job does not run these weights. {_UNQUANTISED}"
    elif found is not None and found.missing:
        problem = f"not installed: {', '.join(found.missing)}"
        remedy = (
            f"Run `pip install {' '.join(found.missing)}` on all nodes, and set preflight.golden "
            f"(see docs/families.md, Quantised weights). Or: {_UNQUANTISED}"
        )
    elif found is not None and golden is None:
        problem = "there are no scores of the unquantised model to compare with"
        remedy = (
            "Record them once, with model.path set to the unquantised model: `batch-reranker "
            "preflight model.path=… preflight.golden=golden.json --record`. Then set "
            f"preflight.golden to this file. Or: {_UNQUANTISED}"
        )
    if found is not None and found.plain and problem:
        problem += "; but no tensor in the files is quantised"
        remedy = (
            f"If these are the original weights, remove {found.where.replace(' of ', ' from ')}. "
            f"Otherwise: {_UNQUANTISED}"
        )
    measured = "not quantised"
    if found is not None:
        outcome = problem or "the weights are dequantised while they are loaded"
        needs = f", which needs {' and '.join(found.packages)}" if found.packages else ""
        measured = f"quantised by {found}{needs}; {outcome}"
    return Check(
        "files",
        "not_quantised",
        not problem,
        measured,
        "weights in float32, bfloat16, float16 or float64, or quantised by one of "
        f"{', '.join(DEQUANTISED)}, with preflight.golden",
        remedy,
        notable=found is not None,
    )
