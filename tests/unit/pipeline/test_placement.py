"""How many replicas of which size, on which nodes."""

from __future__ import annotations

import logging

import pytest

from reranker_core.errors import ConfigError
from reranker_core.pipeline.placement import Placement, place
from tests.tables import config

CPUS, GPU = {"CPU": 8.0}, {"CPU": 16.0, "GPU": 1.0}


def placed(nodes: list[dict[str, float]], *settings: str, own: bool = False) -> Placement:
    return place(config("in", "out", *settings), 1000, own, nodes)


def test_a_cpu_replica_takes_a_node_but_for_what_reading_needs():
    assert placed([CPUS, CPUS]) == Placement(1, 2, 2, 7, 0)
    assert placed([CPUS], own=True) == Placement(1, 1, 1, 6, 0)


def test_a_gpu_replica_takes_a_gpu():
    assert placed([CPUS, GPU, GPU]) == Placement(1, 2, 2, 1, 1)


def test_gpus_are_left_alone_where_the_cpu_is_asked_for():
    assert placed([GPU], "model.device=cpu") == Placement(1, 1, 1, 15, 0)


def test_there_are_no_more_replicas_than_parts():
    assert place(config("in", "out"), 1, False, [GPU, GPU]).max == 1


@pytest.mark.parametrize("nodes", [[CPUS], [CPUS, GPU]])
def test_replicas_max_is_what_the_cluster_may_grow_to(nodes: list[dict[str, float]]):
    found = placed(nodes, "replicas.max=9")
    assert (found.min, found.fitting, found.max) == (1, 1, 9)


def test_cpu_replicas_do_not_grow_into_what_reading_needs(caplog: pytest.LogCaptureFixture):
    found = placed([CPUS, CPUS], "replicas.max=9", "replicas.num_cpus=2")
    assert (found.fitting, found.max) == (6, 6)
    assert "replicas.max=9 is lowered to 6" in caplog.text


def test_an_own_ray_does_not_grow():
    assert placed([GPU], "replicas.max=9", own=True).max == 1
    with pytest.raises(ConfigError, match="all nodes together have 0 GPUs"):
        placed([CPUS], "replicas.num_gpus=1", "replicas.max=9", own=True)


@pytest.mark.parametrize("node", [CPUS, {}])  # {}: a head on which nothing runs
def test_gpus_that_are_not_there_yet_are_waited_for_where_all_is_said(
    node: dict[str, float], caplog: pytest.LogCaptureFixture
):
    found = placed([node], "replicas.num_gpus=1", "replicas.max=4")
    assert found == Placement(1, 1, 4, 1, 1)
    assert "no node has a GPU yet" in caplog.text
    with pytest.raises(ConfigError, match=r"started on demand, set replicas\.max"):
        placed([node], "replicas.num_gpus=1")


@pytest.mark.parametrize(
    ("nodes", "settings"),
    [
        ([CPUS], ["replicas.num_cpus=8"]),
        ([{}], ["replicas.num_cpus=4"]),
        ([CPUS, GPU], ["replicas.num_gpus=2"]),
        ([CPUS, GPU], ["replicas.num_cpus=16", "replicas.num_gpus=1"]),
    ],
)
def test_nodes_that_are_too_small_are_told_at_once(
    nodes: list[dict[str, float]], settings: list[str]
):
    with pytest.raises(ConfigError, match="no node of the cluster has room for a replica"):
        placed(nodes, *settings, "replicas.max=9")


def test_cuda_without_gpus_is_told_at_once():
    with pytest.raises(ConfigError, match=r"Set replicas\.num_gpus=1"):
        placed([CPUS], "model.device=cuda")


@pytest.mark.parametrize(
    ("nodes", "settings", "level"),
    [
        ([CPUS], [], logging.INFO),
        ([CPUS, CPUS], [], logging.WARNING),
        ([CPUS, CPUS], ["model.device=cpu"], None),
        ([CPUS, GPU], [], None),
    ],
)
def test_that_the_model_runs_on_cpus_is_told(
    nodes: list[dict[str, float]],
    settings: list[str],
    level: int | None,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO)
    placed(nodes, *settings)
    told = [record.levelno for record in caplog.records if "runs on CPUs" in record.message]
    assert told == ([] if level is None else [level])
