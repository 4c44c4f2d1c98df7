"""Replicas that share GPUs of one type, while encoding stalls, a node joins and one is lost."""

import json
import signal
import time
import urllib.request

import psutil
import pytest
import ray

from tests.fleet.runs import assert_undisturbed, rerank
from tests.fleet.troubled_model import troubled_model
from tests.shared_ray import meanwhile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Few CPUs: one beside the replicas. Those on two GPUs score at once; one GPU alone would wait.
NODE = {"num_cpus": 2, "num_gpus": 1, "resources": {"accelerator_type:T4": 1}}
STALL = 15  # seconds; Ray's own settings would end replicas after 10
SHARES = ("replicas.num_gpus=0.5", "replicas.accelerator_type=T4", "replicas.max=6")


def wait_for(condition):
    """Until it is true."""
    end = time.monotonic() + 250
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def stall(seconds):
    """All processes of this cluster that read and tokenize stand still."""
    found = []
    for process in psutil.Process().children(recursive=True):
        if "ReadParts" in " ".join(process.cmdline()):
            process.send_signal(signal.SIGSTOP)
            found.append(process)
    time.sleep(seconds)
    for process in found:
        process.send_signal(signal.SIGCONT)


def metrics():
    """What the head node tells Prometheus."""
    (head,) = [node for node in ray.nodes() if "node:__internal_head__" in node["Resources"]]
    url = f"http://{head['NodeManagerAddress']}:{head['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def test_a_stall_a_node_that_joins_and_one_that_is_lost_cost_nothing(
    own_cluster, bert, table, tmp_path
):
    model = troubled_model(bert, tmp_path, seconds=0.1)
    out = tmp_path / "out"
    first = own_cluster.add_node(**NODE | {"num_gpus": 2})

    def receipts():
        return len(list(out.glob("_receipts/*.json")))

    def change():
        wait_for(lambda: receipts() >= 2)
        stall(STALL)
        own_cluster.add_node(**NODE)
        wait_for(lambda: len(json.loads((out / "_progress.json").read_text())) > 4)
        wait_for(lambda: receipts() >= 8)
        own_cluster.remove_node(first, allow_graceful=False)

    with meanwhile(change):
        rerank(tmp_path, model, *SHARES)
    assert_undisturbed(tmp_path, bert, table)
    manifest = json.loads((out / "_manifest.json").read_text())
    assert manifest["attempts"][-1]["parked"] == []
    assert len(manifest["attempts"][-1]["replicas"]) <= 6  # four, and two that joined
    progress = json.loads((out / "_progress.json").read_text())
    assert progress["state"] == "ended"
    text = metrics()
    for name in ("pairs_total", "computed_tokens_total", "replicas_ready", "parts_left"):
        assert f"ray_reranker_{name}" in text, name
