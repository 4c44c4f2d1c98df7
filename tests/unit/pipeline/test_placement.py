"""How many replicas of which size, on which nodes."""

from __future__ import annotations

import logging

import pytest

from reranker_core.config import load_config
from reranker_core.errors import ConfigError
from reranker_core.pipeline.placement import Placement, place
from tests.tables import config

CPUS, GPU = {"CPU": 8.0}, {"CPU": 16.0, "GPU": 1.0}
EIGHT = {"CPU": 8.0, "GPU": 8.0}


def placed(nodes: list[dict[str, float]], *settings: str, own: bool = False) -> Placement:
    return place(config("in", "out", *settings), 1000, own, nodes)


def sizes(found: Placement) -> tuple[float, ...]:
    """Numbers of replicas, and what each needs."""
    return (found.min, found.fitting, found.max, found.num_cpus, found.num_gpus)


def test_a_cpu_replica_takes_a_node_but_for_what_reading_needs():
    assert sizes(placed([CPUS, CPUS])) == (1, 2, 2, 7, 0)
    assert sizes(placed([CPUS], own=True)) == (1, 1, 1, 6, 0)


def test_a_gpu_replica_takes_a_gpu_and_stays():
    assert sizes(placed([CPUS, GPU, GPU])) == (2, 2, 2, 1, 1)
    assert sizes(placed([CPUS, GPU, GPU], "replicas.min=1")) == (1, 2, 2, 1, 1)


def test_gpus_are_left_alone_where_the_cpu_is_asked_for():
    assert sizes(placed([GPU], "model.device=cpu")) == (1, 1, 1, 15, 0)


@pytest.mark.parametrize("head", [{"CPU": 16.0}, {"CPU": 0.0}, {}])
@pytest.mark.parametrize("settings", [[], ["replicas.num_cpus=1"]])
@pytest.mark.parametrize("most", [[], ["replicas.max=64"], ["replicas.max=200"]])
def test_all_gpus_have_a_replica_and_each_node_a_free_cpu(
    head: dict[str, float], settings: list[str], most: list[str]
):
    found = placed([head, *[EIGHT] * 8], "replicas.num_gpus=1", *settings, *most)
    assert found.fitting == 64
    assert 8 * found.num_cpus <= EIGHT["CPU"] - 1


def test_fewer_cpus_than_configured_are_told(caplog: pytest.LogCaptureFixture):
    placed([EIGHT], "replicas.num_gpus=1", "replicas.num_cpus=1")
    assert "replicas.num_cpus=1 is lowered to 0.875" in caplog.text
    one_cpu = {"CPU": 1.0, "GPU": 1.0}
    assert sizes(placed([CPUS, one_cpu], "replicas.num_cpus=0.5")) == (1, 1, 1, 0, 1)
    assert "replicas.num_cpus=0.5 is lowered to 0:" in caplog.text


def test_the_smallest_node_decides_how_many_cpus_a_replica_has():
    assert placed([GPU, {"CPU": 5.0, "GPU": 8.0}]).num_cpus == 0.5
    assert placed([{"CPU": 1.0, "GPU": 1.0}]).num_cpus == 0


@pytest.mark.parametrize(
    ("fraction", "fitting"), [(0.5, 16), (0.25, 32), (0.3, 24), (0.1, 80), (0.6, 8)]
)
def test_a_fraction_does_not_reach_over_two_gpus(fraction: float, fitting: int):
    node = {"CPU": 200.0, "GPU": 8.0}
    found = placed([node], f"replicas.num_gpus={fraction}")
    assert (found.fitting, found.num_gpus) == (fitting, fraction)


def test_fractions_leave_a_cpu_too():
    found = placed([{"CPU": 4.0, "GPU": 1.0}], "replicas.num_gpus=0.25", "replicas.max=4")
    assert sizes(found) == (4, 4, 4, 0.75, 0.25)


def test_a_replica_with_several_gpus_is_refused():
    given = ["input.path=in", "output.path=out", "model.path=m", "replicas.num_gpus=2"]
    with pytest.raises(ConfigError, match="a replica uses one GPU"):
        load_config(None, given)


OLD = {"CPU": 48.0, "GPU": 4.0, "accelerator_type:T4": 1.0}
NEW = {"CPU": 192.0, "GPU": 8.0, "accelerator_type:H100": 1.0}


def test_gpus_of_several_types_are_told_apart():
    with pytest.raises(ConfigError, match=r"several types \(H100, T4\).*accelerator_type"):
        placed([CPUS, OLD, NEW])
    chosen = placed([CPUS, OLD, NEW], "replicas.accelerator_type=H100")
    assert chosen.fitting == 8
    assert chosen.options["accelerator_type"] == "H100"
    both = placed([CPUS, OLD, NEW], "replicas.accelerator_type=any")
    assert both.fitting == 12
    assert both.options["accelerator_type"] is None
    assert placed([OLD, OLD]).fitting == 8
    assert placed([OLD, NEW], "model.device=cpu").num_gpus == 0


def test_a_type_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(ConfigError, match=r"type L4.*12 GPUs \(H100, T4\)"):
        placed([OLD, NEW], "replicas.accelerator_type=L4")
    waiting = placed([OLD], "replicas.accelerator_type=H100", "replicas.max=8")
    assert (waiting.min, waiting.fitting, waiting.max) == (1, 0, 8)


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
    assert sizes(found) == (1, 0, 4, 0.5, 1)
    assert "no node has a GPU yet" in caplog.text
    with pytest.raises(ConfigError, match=r"started on demand, set replicas\.max"):
        placed([node], "replicas.num_gpus=1")


@pytest.mark.parametrize(
    ("nodes", "settings"),
    [
        ([CPUS], ["replicas.num_cpus=8"]),
        ([{}], ["replicas.num_cpus=4"]),
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
