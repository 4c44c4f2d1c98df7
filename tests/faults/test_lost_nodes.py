"""Several Ray nodes on one machine: one is lost for good, then all that could score.

Takes minutes, so it runs with `make chaos` only.
"""

import os
import re
import subprocess
import sys
import time

import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import ray
from ray.cluster_utils import Cluster

from tests.running import ROOT
from tests.texts import flat_table

PARTS = 40


@pytest.fixture
def cluster():
    """A head that cannot score, and two nodes that can."""
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield found
    ray.shutdown()
    found.shutdown()


def start(cluster, folder, bert, *overrides):
    arguments = [
        f"input.path={folder}/in.parquet",
        f"output.path={folder}/out",
        f"model.path={bert}",
        "model.dtype=float32",
        "preflight.checks.meaning=off",
        "plan.part_rows=100",
        "replicas.num_cpus=2",  # the head has one
        f"ray.address={cluster.address}",
        *overrides,
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.rerank", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_receipts(process, folder, count):
    while len(list((folder / "out").glob("_receipts/*.json"))) < count:
        assert process.poll() is None, process.stdout.read()[-3000:]
        time.sleep(0.05)


@pytest.mark.skipif("RUNS" not in os.environ, reason="takes minutes: make chaos")
@pytest.mark.timeout(900)
def test_a_node_that_is_lost_costs_nothing_and_losing_all_ends_with_5(cluster, bert, tmp_path):
    pq.write_table(flat_table(PARTS * 100, seed=1), tmp_path / "in.parquet")
    nodes = [cluster.add_node(num_cpus=3) for _ in range(2)]
    process = start(cluster, tmp_path, bert, "guard.max_stall_seconds=90", "replicas.max=2")
    wait_for_receipts(process, tmp_path, 3)
    cluster.remove_node(nodes[0], allow_graceful=False)
    wait_for_receipts(process, tmp_path, len(list((tmp_path / "out/_receipts").iterdir())) + 2)
    cluster.remove_node(nodes[1], allow_graceful=False)
    printed, _ = process.communicate(timeout=400)
    assert process.returncode == 5, printed[-3000:]
    assert re.search(r"stalled: nothing was computed or committed for \d+ s", printed), printed[
        -3000:
    ]
    assert "1 nodes are alive, 3 when the run began" in printed
    assert not (tmp_path / "out/_SUCCESS").exists()

    cluster.add_node(num_cpus=3)
    process = start(cluster, tmp_path, bert)
    printed, _ = process.communicate(timeout=400)
    assert process.returncode == 0, printed[-3000:]
    found = pyarrow.dataset.dataset(str(tmp_path / "out")).to_table()
    assert found["doc_id"].to_pylist() == [f"d1-{i}" for i in range(PARTS * 100)]
    assert found["score"].null_count == 0
