"""Clusters on this machine."""

from contextlib import contextmanager

import pyarrow.parquet as pq
import pytest
import ray
from ray.cluster_utils import Cluster

from tests.fleet.runs import PARTS, ROWS
from tests.shared_ray import join
from tests.texts import flat_table

NODE = {"num_cpus": 2, "num_gpus": 2}
GPUS = 4


@contextmanager
def nodes(count):
    """A cluster of its own, of nodes with two made-up GPUs each: Ray believes in GPUs that it is
    told of.
    """
    # Without hooks at exit, which only the main thread may set: a test adds a node in another one.
    found = Cluster(initialize_head=True, head_node_args=NODE, shutdown_at_exit=False)
    for _ in range(count - 1):
        found.add_node(**NODE)
    yield found
    ray.shutdown()  # a cluster refuses to end while this process is its driver
    found.shutdown()


@pytest.fixture(scope="session")
def two_nodes():
    with nodes(2) as found:
        yield found


@pytest.fixture
def cluster(two_nodes):
    """Two nodes that no test changes, with this process as a driver."""
    join(two_nodes.address)
    return two_nodes


@pytest.fixture
def own_cluster():
    """One node and those that a test adds. They end with the test: how soon a cluster forgets a
    node that is lost, nobody can say.
    """
    with nodes(1) as found:
        join(found.address)
        yield found


@pytest.fixture
def gpus(cluster):
    """The places of these GPUs: node id and number."""
    nodes = [cluster.head_node, *cluster.worker_nodes]
    return [f"{node.node_id}:{gpu}" for node in nodes for gpu in range(GPUS // 2)]


@pytest.fixture
def table(tmp_path):
    """The input of a run."""
    found = flat_table(PARTS * ROWS, seed=3)
    pq.write_table(found, tmp_path / "in.parquet")
    return found
