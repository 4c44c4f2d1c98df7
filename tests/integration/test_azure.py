"""The job from and to Azure Blob Storage, where its emulator is installed."""

import fsspec
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import ray

from tests.azurite import CONTAINER, azurite
from tests.running import run_here
from tests.shared_ray import join, ray_head
from tests.texts import flat_table

pytestmark = pytest.mark.slow


@pytest.fixture
def azure(tmp_path):
    """A Ray whose workers find Azurite."""
    with azurite(tmp_path), ray_head() as head:
        join(head.address)
        yield
        ray.shutdown()


@pytest.mark.usefixtures("azure")
def test_shards_on_azure_are_scored_to_azure_and_resumed(bert):
    filesystem = fsspec.filesystem("abfs")
    table = flat_table(300, seed=1)
    with filesystem.open(f"{CONTAINER}/in/a.parquet", "wb") as file:
        pq.write_table(table, file)
    arguments = [
        *(f"input.path=abfs://{CONTAINER}/in", f"output.path=abfs://{CONTAINER}/out"),
        *(f"model.path={bert}", "model.dtype=float32", "preflight.checks.meaning=off"),
        "plan.part_rows=100",
    ]
    run_here(*arguments)
    filesystem.invalidate_cache()
    (receipt,) = filesystem.glob(f"{CONTAINER}/out/_receipts/*0000000100*")
    filesystem.rm(receipt)
    filesystem.rm(f"{CONTAINER}/out/_SUCCESS")
    assert "Complete" in run_here(*arguments)
    data = pyarrow.dataset.dataset(f"{CONTAINER}/out", filesystem=filesystem).to_table()
    assert data["doc_id"].to_pylist() == table["doc_id"].to_pylist()
    assert data["score"].null_count == 0
