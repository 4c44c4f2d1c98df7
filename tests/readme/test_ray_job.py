"""`ray job submit` as the README shows it: completes, exits as documented, resumes."""

import json
import shlex
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from tests.running import ROOT
from tests.shared_ray import RAY, ray_head
from tests.texts import flat_table

ENTRYPOINT = (sys.executable, "-m", "jobs.rerank", "--config", "configs/local.yaml")


def submit(dashboard, *arguments):
    """As a person does, waiting for its end."""
    command = [RAY, "job", "submit", "--address", dashboard, "--working-dir", "."]
    done = subprocess.run(
        [*command, "--", *ENTRYPOINT, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def dashboard():
    """Address of a Ray's job server."""
    with ray_head(dashboard=True) as head:
        yield head.dashboard


def test_a_job_that_was_stopped_completes_when_it_is_submitted_again(dashboard, bert, tmp_path):
    pq.write_table(flat_table(1600, seed=2), tmp_path / "in.parquet")
    arguments = [
        f"input.path={tmp_path}/in.parquet",
        f"output.path={tmp_path}/out",
        f"model.path={bert}",
        "preflight.checks.meaning=off",
        "plan.part_rows=50",
    ]
    code, printed = submit(dashboard, *arguments, "output.path=out")
    assert code != 0
    assert "output.path=out" in printed
    assert "Ray's temporary copy of the submitted working directory" in printed

    client = JobSubmissionClient(dashboard)
    job = client.submit_job(
        entrypoint=shlex.join([*ENTRYPOINT, *arguments]), runtime_env={"working_dir": str(ROOT)}
    )
    end = time.monotonic() + 180
    while not list((tmp_path / "out").glob("_receipts/*.json")):
        assert time.monotonic() < end, client.get_job_logs(job)
        time.sleep(0.05)
    assert client.stop_job(job)
    while client.get_job_status(job) != JobStatus.STOPPED:
        assert time.monotonic() < end, client.get_job_logs(job)
        time.sleep(0.2)
    assert not (tmp_path / "out/_SUCCESS").exists()
    before = times(tmp_path / "out")
    assert len(before) < 32

    code, printed = submit(dashboard, *arguments)
    assert code == 0, printed
    assert (tmp_path / "out/_SUCCESS").exists(), printed
    assert before.items() <= times(tmp_path / "out").items()
    assert json.loads((tmp_path / "out/_manifest.json").read_text())["scored"] == 1600


def times(output):
    return {path: path.stat().st_mtime_ns for path in (output / "_receipts").iterdir()}
