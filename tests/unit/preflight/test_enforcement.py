"""What happens with failed checks: refused, warned of, or let through."""

from __future__ import annotations

import json
import logging
import pickle
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from reranker_core.checks import Check, Inspection
from reranker_core.config import PreflightChecks
from reranker_core.errors import PreflightRefused
from tests import damage
from tests.unit.preflight.refusing import HEAD, failures, load, refused, zero_head


def test_a_good_checkpoint_passes(bert: Path):
    report = load(bert).report
    assert {check.group for check in report.failed} <= {"meaning"}
    assert (report.device, report.dtype) == ("cpu", "float32")


@pytest.mark.parametrize("name", ["xlm_roberta", "modernbert", "distilbert", "electra"])
def test_good_checkpoints_of_other_architectures_pass(name: str, request: pytest.FixtureRequest):
    report = load(request.getfixturevalue(name)).report
    assert {check.group for check in report.failed} <= {"meaning"}


def test_the_report_holds_every_check_as_plain_data(bert: Path):
    plain = json.loads(json.dumps(load(bert).report.as_dict()))
    names = {f"{check['group']}/{check['name']}" for check in plain["checks"]}
    assert {
        "files/weights_present",
        "architecture/has_a_score",
        "architecture/one_label",
        "weights/none_missing",
        "weights/finite",
        "tokenizer/fits_vocabulary",
        "numerics/finite",
        "meaning/relevant_above_irrelevant",
    } <= names


def test_warn_lets_a_failed_check_through_with_a_line(
    bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    model = damage.with_weights(bert, tmp_path / "m", zero_head)
    with caplog.at_level(logging.WARNING):
        scorer = load(model, "preflight.checks.meaning=warn", "preflight.checks.weights=warn")
    assert "meaning/not_constant" in caplog.text
    assert "meaning" in {check.group for check in scorer.report.failed}


def test_off_lets_it_through_in_silence_and_in_the_report(
    bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    model = damage.with_weights(bert, tmp_path / "m", zero_head)
    with caplog.at_level(logging.WARNING):
        scorer = load(model, "preflight.checks.meaning=off", "preflight.checks.weights=off")
    assert "not_constant" not in caplog.text
    assert "not_constant" in {check.name for check in scorer.report.failed}


def test_a_missing_head_let_through_has_other_failures_still_refused(bert: Path, tmp_path: Path):
    def spoil(weights: damage.Weights) -> None:
        weights.pop(HEAD)
        weights["extra"] = torch.zeros(1)

    model = damage.with_weights(bert, tmp_path / "m", spoil)
    load(model, "preflight.checks.weights=warn")
    assert failures(refused(model)) == {"weights/none_missing", "weights/none_unexpected"}


def test_a_refusal_names_measure_expectation_and_remedy():
    check = Check("files", "whole", False, "3 bytes", "4 bytes", "Copy it again.")
    with pytest.raises(PreflightRefused) as caught:
        Inspection(PreflightChecks()).add([check])
    for text in ("files/whole", "3 bytes", "4 bytes", "Copy it again."):
        assert text in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).report["checks"] == (asdict(check),)


def test_a_refusal_holds_the_checks_of_earlier_stages_too():
    inspection = Inspection(PreflightChecks())
    inspection.add([Check("files", "whole", True, "", "")])
    with pytest.raises(PreflightRefused) as caught:
        inspection.add([Check("weights", "finite", False, "", "")])
    assert [check["name"] for check in caught.value.report["checks"]] == ["whole", "finite"]
