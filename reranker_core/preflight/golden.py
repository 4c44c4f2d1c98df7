"""Golden scores: the canary scores of a run that was approved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reranker_core.checks import Check, Report
from reranker_core.errors import ConfigError
from reranker_core.models.digests import as_recorded

# Of damaged models, those below it count as broken (docs/damaged-models.md).
_SAME_ORDER = 0.98
_ORDER = f"a rank correlation (Spearman) of at least {_SAME_ORDER}"
_RECORD_FIRST = (
    "Record them with model.path set to the unquantised model: `batch-reranker preflight "
    "model.path=… preflight.golden=FILE --record`."
)


def check_free(option: str, key: str, path: str, overwrite: bool) -> None:
    """Check that an option can write its file.

    Raises:
        ConfigError: the file exists and may not be overwritten, or its folder does not exist.

    """
    if not Path(path).parent.is_dir():
        raise ConfigError(f"{option}: {key}={path}: there is no such folder. Create it first.")
    if Path(path).exists() and not overwrite:
        raise ConfigError(
            f"{option}: {key}={path} exists. It may have been approved. Name another file, or add "
            "--overwrite to replace it."
        )


def record(report: Report, path: str) -> int:
    """Write the canary scores of `report` with the digests of the model. Returns their number."""
    content = {"model": report.model, "dtype": report.dtype, "canaries": report.canaries}
    if report.own_canaries:
        content["own_canaries"] = report.own_canaries
    Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return len(report.canaries) + len(report.own_canaries)


def check_golden(
    report: Report, path: str, tolerance: float, any_dtype: bool, quantised: bool = False
) -> Check:
    """Compare the canary scores with the recorded ones: the built-in canaries, and the user's own
    if they were recorded and are in use.

    Args:
        report: of this replica.
        path: the file that `record` wrote.
        tolerance: largest allowed difference, as a fraction of the range of the recorded scores.
        any_dtype: whether another number format than the recorded one is allowed.
        quantised: whether the weights are quantised. Then the scores must be those of another
            model, the unquantised one, and only their order is compared.

    Raises:
        ConfigError: the file is missing or damaged.

    """
    try:
        golden = json.loads(Path(path).read_text(encoding="utf-8"))
        model, dtype = golden["model"], golden["dtype"]
        recorded = _floats(golden["canaries"])
        own = _floats(golden.get("own_canaries", ()) if report.own_canaries else ())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"preflight.golden={path}: cannot be read ({type(error).__name__}). Record it with "
            "`batch-reranker preflight --record`"
        ) from None
    expected = (
        f"the model, the number format and the canary scores of the approved run, within "
        f"{tolerance:.2%} of their range (preflight.golden_tolerance={tolerance:g})"
    )
    known = model or {}
    now = as_recorded(report.model or {}, known)
    other = sorted(name for name, digest in now.items() if known.get(name) != digest)
    if quantised:
        expected = f"canary scores in the order of the unquantised model's: {_ORDER}"
        if "weights" not in other:
            return _check(False, "recorded with these quantised weights", expected, _RECORD_FIRST)
    elif other:
        return _check(False, f"recorded for another {' and '.join(other)}", expected)
    if len(recorded) != len(report.canaries) or len(own) not in (0, len(report.own_canaries)):
        return _check(
            False,
            f"recorded for {len(recorded)} built-in and {len(own)} own canaries; now there are "
            f"{len(report.canaries)} and {len(report.own_canaries)}",
            expected,
        )
    if quantised:
        found = [("", _rank_correlation(recorded, report.canaries))]
        if len(own):
            found.append(("own ", _rank_correlation(own, report.own_canaries)))
        return _check(
            all(value >= _SAME_ORDER for _, value in found),
            "; ".join(f"{which}canary scores: {value:.4f}" for which, value in found),
            expected,
            "The quantisation changes the ranking. Use the unquantised model, or one that is "
            "quantised less. If the golden scores are of another model, record them again.",
        )
    if dtype != report.dtype and not any_dtype:
        return _check(
            False,
            f"recorded in {dtype}, computed in {report.dtype}",
            expected,
            f"Set model.dtype={dtype}, record again in {report.dtype}, or allow other formats with "
            "preflight.golden_any_dtype=true.",
        )
    differences = [_difference(recorded, report.canaries, "")]
    if len(own):
        differences.append(_difference(own, report.own_canaries, "own "))
    return _check(
        all(share <= tolerance for share, _ in differences),
        "; ".join(words for _, words in differences),
        expected,
    )


def _floats(values: Sequence[float]) -> np.ndarray:
    return np.array(values, np.float32)


def _rank_correlation(recorded: np.ndarray, now: Sequence[float]) -> float:
    """Spearman's."""
    first, second = (np.argsort(np.argsort(values)) for values in (recorded, _floats(now)))
    return float(np.corrcoef(first, second)[0, 1])


def _difference(recorded: np.ndarray, now: Sequence[float], which: str) -> tuple[float, str]:
    """The largest difference as a share of the range of the recorded scores, and in words."""
    span = float(np.ptp(recorded)) or 1.0
    apart = float(np.abs(recorded - _floats(now)).max())
    return apart / span, (
        f"{which}canary scores differ by up to {apart:.3g}, {apart / span:.2%} of their range of "
        f"{span:.3g}"
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
