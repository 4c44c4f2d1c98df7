"""Golden scores: what the canaries scored in a run that somebody approved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from reranker_core.checks import Check, Report
from reranker_core.errors import ConfigError


def check_free(path: str, overwrite: bool) -> None:
    """Raises ConfigError if there is a record already, and it is not to be replaced."""
    if Path(path).exists() and not overwrite:
        raise ConfigError(
            f"--record: preflight.golden={path} exists. It may hold the scores of an approved "
            "run. Name another file, or add --overwrite to replace it."
        )


def record(report: Report, path: str) -> int:
    """Write the canary scores of `report`, and what model they belong to; how many scores."""
    content = {"model": report.model, "dtype": report.dtype, "canaries": report.canaries}
    Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return len(report.canaries)


def check_golden(report: Report, path: str, tolerance: float, any_dtype: bool) -> Check:
    """The same model gives the scores that were recorded, but for `tolerance`, a share of their
    span (largest less smallest); in the same number format unless `any_dtype`.

    Raises:
        ConfigError: the record is missing or damaged.

    """
    try:
        golden = json.loads(Path(path).read_text(encoding="utf-8"))
        model, dtype = golden["model"], golden["dtype"]
        recorded = np.array(golden["canaries"], np.float32)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"preflight.golden={path}: cannot be read ({type(error).__name__}). Record it with "
            "`batch-reranker preflight --record`"
        ) from None
    expected = (
        f"the model, the number format and the canary scores of the approved run, within "
        f"{tolerance:.2%} of their span (preflight.golden_tolerance={tolerance:g})"
    )
    if model != report.model or len(recorded) != len(report.canaries):
        other = sorted(k for k in report.model or {} if (model or {}).get(k) != report.model[k])  # type: ignore[index]
        return _check(
            False, f"recorded for another {' and '.join(other) or 'set of canaries'}", expected
        )
    if dtype != report.dtype and not any_dtype:
        return _check(
            False,
            f"recorded in {dtype}, computed in {report.dtype}",
            expected,
            f"Set model.dtype={dtype}, record again in {report.dtype}, or allow other formats with "
            "preflight.golden_any_dtype=true.",
        )
    span = float(np.ptp(recorded)) or 1.0
    apart = float(np.abs(recorded - np.array(report.canaries, np.float32)).max())
    return _check(
        apart <= tolerance * span,
        f"canary scores differ by up to {apart:.3g}, {apart / span:.2%} of their span of "
        f"{span:.3g}",
        expected,
    )


def _check(
    passed: bool,
    measured: str,
    expected: str,
    remedy: str = "The model, a library version or the hardware has changed, and the scores with "
    "it. If this change is intended, review it and record again with `batch-reranker preflight "
    "--record --overwrite`.",
) -> Check:
    return Check("meaning", "golden", passed, measured, expected, remedy, notable=True)
