"""Replicas that cannot score are set aside and named; the others complete the run."""

import json
import re
import time
from unittest import mock

import pytest
import ray
from ray.exceptions import GetTimeoutError

from reranker_core.pipeline.cluster import _answer, living_nodes, possible_formats
from reranker_core.pipeline.placement import place
from tests import damage
from tests.fleet.runs import assert_undisturbed, name_of, rerank
from tests.fleet.troubled_model import set_troubles, troubled_model
from tests.tables import config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_one_that_fails_one_that_is_lost_and_one_that_disagrees_do_not_end_a_run(
    gpus, bert, table, tmp_path
):
    model = troubled_model(bert, tmp_path, seconds=0.02)
    lost, fails, disagrees = gpus[:3]
    set_troubles(tmp_path, {lost: "is lost", fails: "fails", disagrees: "disagrees"})
    # Two of four agree, whichever comes first.
    printed = rerank(tmp_path, model)
    assert (tmp_path / lost).exists()
    assert_undisturbed(tmp_path, bert, table)
    aside = json.loads((tmp_path / "out/_preflight.json").read_text())["set_aside"]
    reasons = {each["device"]: each["reason"] for each in aside}
    for gpu, reason in (
        (fails, "architecture/computes: RuntimeError: this GPU computes nothing"),
        (disagrees, "agreement/same_scores"),
    ):
        assert reason in reasons.pop(name_of(gpu))
        assert re.search(f"{re.escape(name_of(gpu))} is set aside: {reason}", printed)
    assert re.search(f"lost {re.escape(name_of(lost))} while .* ECC error", printed)
    # It starts twice more before it is set aside; others may have scored the rest by then.
    assert "ECC error" in reasons.pop(name_of(lost), "ECC error")
    assert not reasons
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert manifest["attempts"][-1]["parked"] == aside


@pytest.mark.exhaustive  # its parts are in tests/unit/pipeline/test_coordinator.py
def test_when_the_last_is_lost_the_run_ends_with_the_cause_and_resumes(gpus, bert, table, tmp_path):
    model = troubled_model(bert, tmp_path, seconds=0.02)
    set_troubles(tmp_path, dict.fromkeys(gpus, "is lost"))
    printed = rerank(tmp_path, model, "replicas.max=2", expect=5)
    assert "uncorrectable ECC error" in printed
    assert not (tmp_path / "out/_SUCCESS").exists()
    set_troubles(tmp_path, {})
    rerank(tmp_path, model, "replicas.max=2")
    assert_undisturbed(tmp_path, bert, table)


def test_gpus_that_do_not_tell_their_number_formats_do_not_end_a_run(gpus, monkeypatch, caplog):
    """There is no CUDA on these made-up GPUs."""
    asked = config("in", "out", "model.device=cuda", "model.dtype=auto", "replicas.num_gpus=1")
    placement = place(asked, 9, False, living_nodes())
    formats = possible_formats(asked, placement, False)
    assert list(formats) == ["bfloat16", "float16", "float32"]
    assert caplog.text.count("model.device=cuda: ") == 3

    def hangs():
        yield "this node"
        time.sleep(60)

    monkeypatch.setattr("reranker_core.pipeline.cluster._ANSWER_SECONDS", 0.5)
    with pytest.raises(GetTimeoutError, match="this node started, but did not answer"):
        _answer(ray.remote(num_gpus=1)(hangs).remote(), 60)


def overflow(weights):
    weights["bert.encoder.layer.0.output.dense.weight"] *= 8e3


def test_a_number_format_that_is_refused_is_followed_by_the_next(gpus, bert, table, tmp_path):
    model = damage.with_weights(bert, tmp_path / "model", overflow)
    formats = {"float16": "fast", "float32": "the fallback"}
    settings = ("model.dtype=auto", "model.trust_remote_code=false", "replicas.max=1")
    with mock.patch("reranker_core.pipeline.run.possible_formats", return_value=formats):
        printed = rerank(tmp_path, model, *settings)
    assert "model.dtype=float16: numerics/finite" in printed
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert manifest["fingerprint"]["dtype"] == "float32"
    assert_undisturbed(tmp_path, model, table)


@pytest.mark.exhaustive  # tests/integration/test_rerank_job.py has one replica that refuses a model
def test_a_model_that_all_refuse_is_refused_at_once(gpus, bert, table, tmp_path):
    model = troubled_model(bert, tmp_path)
    set_troubles(tmp_path, dict.fromkeys(gpus, "fails"))
    printed = rerank(tmp_path, model, "replicas.max=2", expect=3)
    assert "this GPU computes nothing" in printed
    assert "is started again" not in printed
    refused = json.loads((tmp_path / "out/_preflight.json").read_text())["refused"]
    assert {"architecture/computes"} == {
        f"{check['group']}/{check['name']}" for check in refused["checks"] if not check["passed"]
    }
