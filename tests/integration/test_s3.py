"""The job from and to a real S3 server, with signatures enforced."""

import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import fsspec
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from tests.running import run_job
from tests.texts import flat_table

WEED = Path(sys.executable).parent / "weed"


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """A SeaweedFS with the bucket `demo`; the environment that its clients need."""
    folder = tmp_path_factory.mktemp("weed")
    first = random.randrange(20_000, 30_000, 10)  # gRPC takes each port plus 10,000
    names = ("s3.port", "master.port", "volume.port", "filer.port", "admin.port")
    ports = [f"-{name}={first + offset}" for offset, name in enumerate(names)]
    credentials = {"AWS_ACCESS_KEY_ID": "demokey", "AWS_SECRET_ACCESS_KEY": "demosecret"}
    address = ("-ip=127.0.0.1", "-ip.bind=127.0.0.1")
    switched_off = [
        *("-master.telemetry=false", "-webdav=false", "-admin.ui=false"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
    ]
    server = subprocess.Popen(
        [WEED, "mini", f"-dir={folder}", *address, "-bucket=demo", *ports, *switched_off],
        env=os.environ | credentials | {"GOMEMLIMIT": "400MiB"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{first}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in credentials.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        _wait_for(endpoint)
        yield endpoint
    server.terminate()
    server.wait(30)


def _wait_for(endpoint):
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    for _ in range(150):
        try:
            urllib.request.urlopen(endpoint, timeout=1)
        except urllib.error.HTTPError:
            if filesystem.exists("demo"):
                return
        except OSError:
            pass
        time.sleep(0.2)
    pytest.fail("the S3 server did not come up")


def test_shards_on_s3_are_scored_to_s3_and_resumed(s3, bert):
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    tables = [flat_table(300, seed=seed) for seed in range(2)]
    for index, table in enumerate(tables):
        with filesystem.open(f"demo/in/{index}.parquet", "wb") as file:
            pq.write_table(table, file)
    arguments = [
        "input.path=s3://demo/in",
        "output.path=s3://demo/out",
        f"model.path={bert}",
        "preflight.checks.meaning=off",
        "plan.part_rows=100",
        "ray.address=local",  # started with this environment
    ]
    run_job(*arguments)
    filesystem.invalidate_cache()
    names = filesystem.find("demo/out")
    assert "demo/out/_SUCCESS" in names
    data = pyarrow.dataset.dataset("demo/out", filesystem=filesystem).to_table()
    assert data["doc_id"].to_pylist() == [i for t in tables for i in t["doc_id"].to_pylist()]
    assert data["score"].null_count == 0
    assert "6 parts, which this run would skip" in run_job(*arguments, "--dry-run")


def test_bad_credentials_are_named_before_anything_is_started(s3, bert, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    printed = run_job(
        "input.path=s3://demo/in", "output.path=s3://demo/out", f"model.path={bert}", expect=2
    )
    assert "not permitted" in printed
    assert "wrong-secret" not in printed
