"""Several Ray nodes on one machine: they join and leave, one is lost for good, then all.

Takes minutes, so it runs with `make chaos` only.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import ray
from ray.cluster_utils import Cluster

from reranker_core.config import load_config
from reranker_core.score.loading import load_scorer
from tests.reusing import SETTINGS, Night
from tests.running import ROOT
from tests.texts import flat_table

PARTS = 40
ROWS = 100  # of a part

pytestmark = [
    pytest.mark.skipif("RUNS" not in os.environ, reason="takes minutes: make chaos"),
    pytest.mark.timeout(900),
]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A head that cannot score."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.fixture
def settings(bert, tmp_path):
    """What all runs have in common."""
    return [
        f"input.path={tmp_path}/in.parquet",
        f"output.path={tmp_path}/out",
        f"model.path={bert}",
        "model.dtype=float32",
        "preflight.checks.meaning=off",
        f"plan.part_rows={ROWS}",
    ]


@pytest.fixture
def start(cluster, settings):
    """Start a run; it is gone when the test ends."""
    started = []

    def call(*more):
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jobs.rerank",
                *settings,
                f"ray.address={cluster.address}",
                *more,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.wait()


def wait_for(process, condition):
    """Until `condition` gives something; that."""
    while not (found := condition()):
        assert process.poll() is None, process.stdout.read()[-3000:]
        time.sleep(0.1)
    return found


def receipts(folder):
    return len(list((folder / "out").glob("_receipts/*.json")))


def replicas(folder):
    """The processes of those that have scored, in this order."""
    report = folder / "out/_preflight.json"
    found = json.loads(report.read_text())["replicas"] if report.exists() else []
    return [int(each["replica"].partition(":")[2]) for each in found]


def end(process, expect):
    """Wait for its end; what it printed."""
    printed, _ = process.communicate(timeout=400)
    assert process.returncode == expect, printed[-3000:]
    assert "Traceback" not in printed
    return printed


def assert_undisturbed(folder, settings, table):
    """The rows in order, with the scores that a scorer gives them without Ray."""
    found = pyarrow.dataset.dataset(str(folder / "out")).to_table()
    assert found["doc_id"].equals(table["doc_id"])
    pairs = list(zip(*(table[name].to_pylist() for name in ("query", "passage")), strict=True))
    scores = load_scorer(load_config(None, settings)).score_pairs(pairs)
    np.testing.assert_allclose(found["score"].to_numpy(), scores, rtol=1e-5, atol=1e-5)
    assert (folder / "out/_SUCCESS").exists()


def test_a_node_that_is_lost_costs_nothing_and_losing_all_ends_with_5(
    cluster, start, settings, tmp_path
):
    table = flat_table(PARTS * ROWS, seed=1)
    pq.write_table(table, tmp_path / "in.parquet")
    nodes = [cluster.add_node(num_cpus=3) for _ in range(2)]
    pool = ["replicas.num_cpus=2", "replicas.max=2"]
    process = start(*pool, "guard.max_stall_seconds=90")
    wait_for(process, lambda: receipts(tmp_path) >= 3)
    cluster.remove_node(nodes[0], allow_graceful=False)
    before = receipts(tmp_path)
    wait_for(process, lambda: receipts(tmp_path) >= before + 2)
    cluster.remove_node(nodes[1], allow_graceful=False)
    printed = end(process, expect=5)
    assert re.search(r"stalled: nothing was computed or committed for \d+ s", printed), printed
    assert "the cluster has 1 node (3 when the run started)" in printed
    assert not (tmp_path / "out/_SUCCESS").exists()

    cluster.add_node(num_cpus=3)
    end(start(*pool), expect=0)
    assert_undisturbed(tmp_path, settings, table)


def test_a_node_that_is_lost_while_scores_are_reused_costs_nothing(
    cluster, start, settings, tmp_path, bert
):
    many = 5 * PARTS  # known ones take little time
    table = flat_table(many * ROWS, seed=1)
    pq.write_table(table, tmp_path / "in.parquet")
    (tmp_path / "first").mkdir()
    pq.write_table(table.slice(0, many * ROWS // 2), tmp_path / "first/a.parquet")
    own = [*SETTINGS, f"plan.part_rows={ROWS}", "score.max_batch_tokens=2048"]
    scorer = load_scorer(load_config(None, [*settings, *own]))
    earlier = Night(tmp_path / "first", tmp_path / "earlier", bert, scorer, *own)
    assert earlier.drive() is not None
    nodes = [cluster.add_node(num_cpus=3) for _ in range(2)]
    pool = ["replicas.num_cpus=2", "replicas.max=2"]
    process = start(*own, *pool, f"reuse.from={earlier.store.url}")
    # Replicas that fit at the start begin together.
    wait_for(process, lambda: receipts(tmp_path) >= 3)
    cluster.remove_node(nodes[0], allow_graceful=False)
    assert receipts(tmp_path) < many
    end(process, expect=0)
    assert_undisturbed(tmp_path, [*settings, *own], table)
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    pairs = list(zip(*(table[name].to_pylist() for name in ("query", "passage")), strict=True))
    parts = [set(pairs[start : start + ROWS]) for start in range(0, len(pairs), ROWS)]
    known = set().union(*parts[: many // 2])
    assert manifest["reuse"]["pairs"] == sum(len(part & known) for part in parts)


@pytest.mark.parametrize(
    ("node", "size", "graceful"),
    [
        ({"num_cpus": 3}, ["replicas.num_cpus=2"], False),
        # Ray believes in GPUs that it is told of.
        ({"num_cpus": 1, "num_gpus": 1}, ["replicas.num_gpus=1", "model.device=cpu"], True),
    ],
    ids=["cpus", "gpus"],
)
def test_replicas_come_and_go_with_their_nodes(
    cluster, start, settings, tmp_path, node, size, graceful
):
    table = flat_table(PARTS * ROWS, seed=1)
    pq.write_table(table, tmp_path / "in.parquet")
    nodes = [cluster.add_node(**node)]
    process = start(*size, "replicas.min=1", "replicas.max=3")
    (first,) = wait_for(process, lambda: replicas(tmp_path))
    os.kill(first, signal.SIGSTOP)  # or all might be done before the second is there
    nodes.append(cluster.add_node(**node))
    wait_for(process, lambda: len(replicas(tmp_path)) == 2)
    os.kill(first, signal.SIGCONT)
    assert receipts(tmp_path) < PARTS
    cluster.remove_node(nodes[0], allow_graceful=graceful)
    end(process, expect=0)
    assert_undisturbed(tmp_path, settings, table)


def test_nodes_of_a_kind_that_is_not_there_yet_are_waited_for(cluster, start, settings, tmp_path):
    table = flat_table(ROWS, seed=1)
    pq.write_table(table, tmp_path / "in.parquet")
    more = ["replicas.num_gpus=1", "model.device=cpu", "model.dtype=auto"]
    more.append("score.reproducible=true")  # `auto` may be bfloat16, where a batch changes a score
    process = start(*more, "replicas.max=3")
    assert any("no node has a GPU yet" in line for line in process.stdout)
    cluster.add_node(num_cpus=1, num_gpus=1)
    end(process, expect=0)
    assert_undisturbed(tmp_path, [*settings, *more], table)
