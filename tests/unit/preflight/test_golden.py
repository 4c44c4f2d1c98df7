"""Golden scores: recorded once, compared from then on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reranker_core.checks import Check
from reranker_core.errors import ConfigError
from reranker_core.preflight.golden import check_free, record
from tests.unit.preflight.refusing import load


def golden_of(bert: Path, *settings: str) -> Check:
    report = load(bert, *settings).report
    return next(check for check in report.checks if check.name == "golden")


def test_recorded_scores_are_held_against_a_model(bert: Path, tmp_path: Path):
    golden = tmp_path / "golden.json"
    report = load(bert).report
    assert record(report, str(golden)) == len(report.canaries) == 64
    on = (f"preflight.golden={golden}", "preflight.checks.meaning=off")
    assert golden_of(bert, *on).passed
    content = json.loads(golden.read_text())
    span = max(content["canaries"]) - min(content["canaries"])
    content["canaries"][3] += 0.03 * span
    golden.write_text(json.dumps(content))
    failed = golden_of(bert, *on)
    assert not failed.passed
    assert "within 1.00% of their range (preflight.golden_tolerance=0.01)" in failed.expected
    assert golden_of(bert, *on, "preflight.golden_tolerance=0.05").passed


def test_scores_recorded_in_another_number_format_must_be_allowed(bert: Path, tmp_path: Path):
    golden = tmp_path / "golden.json"
    record(load(bert).report, str(golden))
    content = json.loads(golden.read_text())
    golden.write_text(json.dumps(content | {"dtype": "bfloat16"}))
    on = (f"preflight.golden={golden}", "preflight.checks.meaning=off")
    refusal = golden_of(bert, *on)
    assert not refusal.passed
    assert refusal.measured == "recorded in bfloat16, computed in float32"
    assert golden_of(bert, *on, "preflight.golden_any_dtype=true").passed


def test_a_record_is_not_replaced_unasked(tmp_path: Path):
    path = tmp_path / "golden.json"
    check_free("--record", "preflight.golden", str(path), overwrite=False)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="--overwrite"):
        check_free("--record", "preflight.golden", str(path), overwrite=False)
    check_free("--record", "preflight.golden", str(path), overwrite=True)
    with pytest.raises(ConfigError, match="no such folder"):
        check_free("--record", "preflight.golden", str(tmp_path / "a" / "b"), overwrite=True)
