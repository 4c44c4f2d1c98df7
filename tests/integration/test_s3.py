"""The job from and to a real S3 server, with signatures enforced."""

import fsspec
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from tests.running import run_here
from tests.servers import clients_of, forget_clients, seaweedfs
from tests.texts import flat_table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def s3(tmp_path_factory, aws_profile):
    """A SeaweedFS with the bucket `demo`. Workers find it by the profile of their node, and have
    its credentials from their environment; drivers have both from theirs.
    """
    with (
        seaweedfs(tmp_path_factory.mktemp("weed")) as server,
        clients_of(server.endpoint),
    ):
        aws_profile.write_text(f"[default]\nendpoint_url = {server.endpoint}\nregion = us-east-1\n")
        yield server.endpoint


def test_shards_on_s3_are_scored_to_s3_and_resumed(s3, rerank):
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    tables = [flat_table(300, seed=seed) for seed in range(2)]
    for index, table in enumerate(tables):
        with filesystem.open(f"demo/in/{index}.parquet", "wb") as file:
            pq.write_table(table, file)
    arguments = ["s3://demo/in", "s3://demo/out", "plan.part_rows=100"]
    rerank(*arguments)
    filesystem.invalidate_cache()
    names = filesystem.find("demo/out")
    assert "demo/out/_SUCCESS" in names
    data = pyarrow.dataset.dataset("demo/out", filesystem=filesystem).to_table()
    assert data["doc_id"].to_pylist() == [i for t in tables for i in t["doc_id"].to_pylist()]
    assert data["score"].null_count == 0
    assert "6 parts, which a run would skip" in rerank(*arguments, "--dry-run")


def test_bad_credentials_are_named_before_anything_is_started(s3, bert, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    forget_clients()
    printed = run_here(
        "input.path=s3://demo/in", "output.path=s3://demo/out", f"model.path={bert}", expect=2
    )
    assert "the credentials are missing, wrong or expired" in printed
    assert "wrong-secret" not in printed
