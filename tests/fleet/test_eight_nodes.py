"""Eight nodes with a GPU each, and all the troubles of a night in one run."""

import json
import signal
import time
from contextlib import suppress

import psutil
import pyarrow.parquet as pq
import pytest
import ray
from ray.cluster_utils import Cluster

from tests.fleet.runs import ROWS, assert_undisturbed, name_of, rerank
from tests.fleet.troubled_model import set_troubles, troubled_model
from tests.shared_ray import join, meanwhile
from tests.texts import flat_table

# Nine Ray nodes and eight replicas need 8 GB and both cores for minutes.
pytestmark = [pytest.mark.slow, pytest.mark.exhaustive, pytest.mark.timeout(1800)]

GPU_NODE = {"num_cpus": 1, "num_gpus": 1}  # the CPU encodes; a replica gets none
PARTS = 150
STALL = 60  # seconds


@pytest.fixture
def eight_nodes():
    """The nodes of a cluster whose head has CPUs only."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "num_gpus": 0},
        shutdown_at_exit=False,
    )
    nodes = [cluster.add_node(**GPU_NODE) for _ in range(8)]
    join(cluster.address)
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()


def encoders():
    """The processes of this cluster that read and tokenize."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "ReadParts" in " ".join(process.cmdline()):
                found.add(process)
    return found


def wait_for(condition):
    """Until it is true."""
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_one_fails_one_is_lost_one_disagrees_one_joins_one_leaves_and_encoding_stalls(
    eight_nodes, bert, tmp_path
):
    cluster, nodes = eight_nodes
    table = flat_table(PARTS * ROWS, seed=3)
    pq.write_table(table, tmp_path / "in.parquet")
    model = troubled_model(bert, tmp_path, seconds=1.0)
    fails, lost, disagrees = (f"{node.node_id}:0" for node in nodes[:3])
    troubles = {fails: "fails", lost: "is lost", disagrees: "disagrees"}
    set_troubles(tmp_path, troubles)
    out = tmp_path / "out"
    seen = {}

    def progress():
        return json.loads((out / "_progress.json").read_text())

    def ready():
        return progress().get("replicas_ready", 0) if (out / "_progress.json").exists() else 0

    def change():
        stopped = set()
        wait_for(encoders)
        (tmp_path / "hold").touch()  # after three parts, until a node has joined
        end = None
        while end is None or time.monotonic() < end:
            for process in encoders() - stopped:
                process.send_signal(signal.SIGSTOP)
                stopped.add(process)
            if (
                end is None and ready() >= 6
            ):  # all but the one that fails and the one that disagrees
                end = time.monotonic() + STALL
            time.sleep(0.1)
        seen["stalled"] = progress()
        joined = cluster.add_node(**GPU_NODE)
        set_troubles(tmp_path, troubles | {f"{joined.node_id}:0": "joins"})
        for process in stopped:
            process.send_signal(signal.SIGCONT)
        wait_for(lambda: len(progress()["set_aside"]) >= 3 and ready() >= 6)
        (tmp_path / "hold").unlink()
        cluster.remove_node(nodes[3], allow_graceful=False)

    with meanwhile(change):
        rerank(tmp_path, model, "replicas.max=9")
    assert_undisturbed(tmp_path, bert, table)
    assert seen["stalled"]["parts_left"] > PARTS - 20
    assert seen["stalled"]["replicas_ready"] == 6  # an idle replica is not ended
    (attempt,) = json.loads((out / "_manifest.json").read_text())["attempts"]
    assert attempt["waiting_seconds"] > 5 * STALL
    aside = {each["device"]: each["reason"] for each in attempt["parked"]}
    assert aside.keys() == set(map(name_of, (fails, lost, disagrees)))
    assert "computes nothing" in aside[name_of(fails)]
    assert "agreement/same_scores" in aside[name_of(disagrees)]
    assert "ECC error" in aside[name_of(lost)]
