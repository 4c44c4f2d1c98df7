"""The command of the Kubernetes manifests, run on a Ray as it stands there."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.running import ROOT
from tests.texts import flat_table
from tests.unit.test_deploy import job_of

# tests/readme submits a job in the same way; tests/unit/test_deploy.py reads the settings.
pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]


def test_the_entrypoint_scores_the_input(shared_ray, tmp_path):
    pq.write_table(flat_table(60, seed=1), tmp_path / "pairs.parquet")
    command = job_of("raycronjob")["entrypoint"]
    # One run shows both manifests.
    assert command.removesuffix(" input.changed=rescore") == job_of("rayjob")["entrypoint"]
    for there, here in {
        "/opt/batch-reranker": str(ROOT),
        "s3://bucket/pairs": f"{tmp_path}/pairs.parquet",
        "s3://bucket/scores": f"{tmp_path}/scores",
        "BAAI/bge-reranker-v2-m3": f"{ROOT}/demo/model",
        "replicas.num_gpus=1": "replicas.num_gpus=0",  # the Ray of tests has none
    }.items():
        assert there in command
        command = command.replace(there, here)
    done = subprocess.run(
        ["bash", "-c", command],
        env=os.environ
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_ADDRESS": shared_ray.address,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "scores/_SUCCESS").exists()
    assert sum(pq.read_metadata(f).num_rows for f in (tmp_path / "scores").glob("*.parquet")) == 60
