"""A cluster that all tests here share."""

import pyarrow.parquet as pq
import pytest
import ray
from ray.cluster_utils import Cluster

from tests.fleet.runs import PARTS, ROWS
from tests.shared_ray import join
from tests.texts import flat_table

NODE = {"num_cpus": 2, "num_gpus": 2}
GPUS = 4


@pytest.fixture(scope="session")
def two_nodes():
    """Two nodes with two made-up GPUs each: Ray believes in GPUs that it is told of."""
    # Without hooks at exit, which only the main thread may set: a test adds a node in another one.
    found = Cluster(initialize_head=True, head_node_args=NODE, shutdown_at_exit=False)
    found.add_node(**NODE)
    yield found
    ray.shutdown()  # a cluster refuses to end while this process is its driver
    found.shutdown()


@pytest.fixture
def cluster(two_nodes):
    """These nodes, with this process as a driver."""
    join(two_nodes.address)
    return two_nodes


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
