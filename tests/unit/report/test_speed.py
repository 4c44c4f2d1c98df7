"""The speed of a replica: from an earlier output that is alike, or measured."""

import json
import time
from dataclasses import replace

import pytest
import torch

from reranker_core.device import processor
from reranker_core.output.attempts import read_attempts
from reranker_core.report import speed as speeds
from reranker_core.report.speed import Replicas, speed_of
from reranker_core.report.workload import workload
from tests.estimating import PROCESSOR, attempt, prepared
from tests.tables import write
from tests.texts import flat_table

HERE = Replicas(2, 2.0, 0.0, PROCESSOR)


@pytest.fixture
def made(bert, tmp_path):
    write(tmp_path / "in" / "a.parquet", flat_table(50, seed=1))
    return prepared(tmp_path, bert)


def speed(made, here=HERE):
    return speed_of(made, workload(made), here)


@pytest.fixture
def never_measured(monkeypatch):
    def refuse(*_):
        raise AssertionError("measured")

    monkeypatch.setattr(speeds, "_measured", refuse)


@pytest.mark.usefixtures("never_measured")
@pytest.mark.parametrize("here", [HERE, None])
def test_it_comes_from_the_newest_output_of_the_same_model(made, here):
    now = time.time()
    attempt(made, "tuesday", 50_000, now - 500)
    attempt(made, "monday", 40_000, now - 1000)
    attempt(made, "columns-changed", 1_000_000, now - 100, replicas=0)
    attempt(made, "other-model", 1_000_000, now, model={"digest": "sha256:0"})
    found = speed(made, here)
    assert (found.tokens_per_second, found.replicas, found.cpus) == (500.0, 2, 2.0)
    assert f"tuesday (cpu {PROCESSOR} float32)" in found.origin
    assert found.start_seconds == pytest.approx(500 - 100 / 2 + 10, abs=30)
    # Replicas that waited for parts will do so again; that is not part of the start.
    attempt(made, "wednesday", 50_000, now - 200, waiting_seconds=300.0)
    found = speed(made, here)
    assert (found.tokens_per_second, found.unlike) == (125.0, ())
    assert found.start_seconds == pytest.approx(10, abs=30)


@pytest.mark.parametrize(
    ("facts", "here", "overrides", "said"),
    [
        ({"cpus": 1.0}, HERE, [], "CPUs per replica: 1 before, 2 now"),
        ({"cpus": 1.0}, None, ["replicas.num_cpus=2"], "CPUs per replica: 1 before, 2 now"),
        ({}, replace(HERE, gpus=1.0), [], "GPUs per replica: 0 before, 1 now"),
        (
            {"gpus": 1.0},
            None,
            ["replicas.num_gpus=0.5", "ray.address=10.0.0.1:6379"],
            "GPUs per replica: 1 before, 0.5 now",
        ),
        ({}, replace(HERE, processor="X"), [], f"processor: {PROCESSOR} before, X now"),
        (
            {"configuration": {"replicas": {"accelerator_type": "T4"}}},
            None,
            ["replicas.accelerator_type=H100"],
            "replicas.accelerator_type: T4 before, H100 now",
        ),
        (
            {},
            HERE,
            ["score.max_batch_tokens=512"],
            "score.max_batch_tokens: null before, 512 now",
        ),
        ({}, HERE, ["score.reproducible=true"], "score.reproducible: false before, true now"),
        ({"distinct": 100}, HERE, [], "tokens per pair: 500 before, "),
        ({"distinct": 50_000}, None, [], "tokens per pair: 1 before, "),
    ],
)
@pytest.mark.usefixtures("never_measured")
def test_an_output_that_is_not_alike_says_so_or_is_not_taken(
    bert, tmp_path, made, facts, here, overrides, said
):
    attempt(made, "monday", 50_000, **facts)
    run = prepared(tmp_path, bert, *overrides)
    if here is None:
        (unlike,) = speed(run, None).unlike
        assert said in unlike
    else:
        with pytest.raises(AssertionError, match="measured"):
            speed(run, here)
    same = {"score": run.config.model_dump(mode="json")["score"]}
    same["replicas"] = {"accelerator_type": run.config.replicas.accelerator_type}
    alike = {"cpus": 2.0, "gpus": run.config.replicas.num_gpus or (here.gpus if here else 0.0)}
    one = {"device": "cpu", "dtype": "float32", "processor": here.processor if here else "Z"}
    earlier = {**alike, "replicas": 2, "configuration": same}
    store = attempt(made, "long-ago", 30_000, -1e6, **earlier)
    (found,) = read_attempts(store)
    found.replicas, found.distinct = [one] * 2, 30_000 * 50 // tokens(run)
    store.write("_attempts/000001.json", found.to_json())
    found = speed(run, here)
    assert (found.tokens_per_second, found.unlike) == (300.0, ())


def tokens(made):
    return int(workload(made).tokens)


@pytest.mark.usefixtures("never_measured")
def test_outputs_of_earlier_versions_are_taken_for_alike(made):
    store = attempt(made, "monday", 50_000)
    old = json.loads(store.read("_attempts/000001.json"))
    del old["distinct"], old["configuration"]["score"], old["configuration"]["replicas"]
    old["replicas"] = [{"device": "cpu", "dtype": "float32"}]
    store.write("_attempts/000001.json", json.dumps(old).encode())
    assert speed(made).tokens_per_second == 500.0


@pytest.mark.slow
def test_without_an_earlier_output_it_is_measured(made, monkeypatch):
    monkeypatch.setattr(speeds, "_MEASURED_SECONDS", 0.2)
    work = workload(made)
    found = speed_of(made, work, None)
    assert found.tokens_per_second > 100
    name = processor("cpu")
    assert found.origin.startswith(f"0 s of scoring in this process (cpu {name} float32")
    assert found.unlike == ("measured on this machine",)
    # Without a GPU, tokenizing takes its share of the cores.
    assert work.encoding_seconds > 0
    assert found.start_seconds > 1
    monkeypatch.setattr(speeds, "_import_seconds", lambda: 1.0)  # once is enough
    slow = speed_of(made, replace(work, encoding_seconds=1.0), None)
    assert slow.tokens_per_second < min(found.tokens_per_second, found.cpus + 0.1)


@pytest.mark.slow
def test_it_is_measured_with_the_threads_of_a_replica(made, monkeypatch):
    monkeypatch.setattr(speeds, "_MEASURED_SECONDS", 0.2)
    monkeypatch.setattr(speeds, "_import_seconds", lambda: 1.0)
    before = torch.get_num_threads()
    found = speed_of(made, workload(made), Replicas(3, 1.5, 0.0, PROCESSOR))
    assert (found.cpus, found.unlike) == (1.5, ())
    assert ", 1 thread)" in found.origin
    assert torch.get_num_threads() == before
