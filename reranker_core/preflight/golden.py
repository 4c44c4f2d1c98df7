"""Golden scores: what the canaries scored in a run that somebody approved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from reranker_core.checks import Check, Report
from reranker_core.errors import ConfigError

# Shares of the canaries' span: for equal and for different number formats.
_SAME_DTYPE = 0.01
_OTHER_DTYPE = 0.05


def record(report: Report, path: str) -> None:
    """Write the canary scores of `report`, and what model they belong to."""
    content = {"model": report.model, "dtype": report.dtype, "canaries": report.canaries}
    Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def check_golden(report: Report, path: str) -> Check:
    """The same model gives the scores that were recorded.

    Raises:
        ConfigError: the record is missing or damaged.

    """
    try:
        golden = json.loads(Path(path).read_text(encoding="utf-8"))
        model, dtype = golden["model"], golden["dtype"]
        recorded = np.array(golden["canaries"], np.float32)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"preflight.golden={path}: cannot be read ({type(error).__name__}); record it with "
            "`python -m jobs.preflight --record`"
        ) from None
    expected = "the model and the canary scores of the approved run"
    if model != report.model or len(recorded) != len(report.canaries):
        other = sorted(k for k in report.model or {} if (model or {}).get(k) != report.model[k])  # type: ignore[index]
        return _check(
            False, f"recorded for another {' and '.join(other) or 'set of canaries'}", expected
        )
    allowed = _SAME_DTYPE if dtype == report.dtype else _OTHER_DTYPE
    span = float(np.ptp(recorded)) or 1.0
    apart = float(np.abs(recorded - np.array(report.canaries, np.float32)).max())
    return _check(
        apart <= allowed * span,
        f"canary scores differ by up to {apart / span:.2%} of their span",
        f"{expected}, within {allowed:.0%}",
    )


def _check(passed: bool, measured: str, expected: str) -> Check:
    return Check(
        "meaning",
        "golden",
        passed,
        measured,
        expected,
        "Model, library versions or hardware changed what is computed. If the change is meant, "
        "look at it and record again with `python -m jobs.preflight --record`.",
    )
