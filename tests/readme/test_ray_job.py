"""`ray job submit` as the README shows it: exits as documented, resumes."""

import json
import shlex
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from tests.running import ROOT
from tests.shared_ray import RAY
from tests.texts import flat_table

ENTRYPOINT = (sys.executable, "-m", "jobs.rerank", "--config", "configs/local.yaml")


@pytest.mark.slow
@pytest.mark.exhaustive  # the README submits one that is not stopped
@pytest.mark.timeout(900)
def test_a_job_that_was_stopped_completes_when_it_is_submitted_again(readme, bert, tmp_path):
    pq.write_table(flat_table(1600, seed=2), tmp_path / "in.parquet")
    command = [
        *ENTRYPOINT,
        f"input.path={tmp_path}/in.parquet",
        f"output.path={tmp_path}/out",
        f"model.path={bert}",
        "preflight.checks.meaning=off",
        "plan.part_rows=50",
    ]
    # One job does two things: an output in Ray's copy of the folder is refused, another is begun.
    refused = f"{shlex.join([*command, 'output.path=out'])}; echo exit code $?"
    client = JobSubmissionClient(readme)
    job = client.submit_job(
        entrypoint=shlex.join(["bash", "-c", f"{refused}; exec {shlex.join(command)}"]),
        runtime_env={"working_dir": str(ROOT)},
    )
    end = time.monotonic() + 240
    while not list((tmp_path / "out").glob("_receipts/*.json")):
        assert time.monotonic() < end, client.get_job_logs(job)
        time.sleep(0.05)
    assert client.stop_job(job)
    while client.get_job_status(job) != JobStatus.STOPPED:
        assert time.monotonic() < end, client.get_job_logs(job)
        time.sleep(0.2)
    printed = client.get_job_logs(job)
    assert "output.path=out" in printed
    assert "Ray's temporary copy of the submitted working directory" in printed
    assert "exit code 2\n" in printed
    assert not (tmp_path / "out/_SUCCESS").exists()
    before = times(tmp_path / "out")
    assert len(before) < 32

    again = [RAY, "job", "submit", "--address", readme, "--working-dir", ".", "--", *command]
    done = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out/_SUCCESS").exists()
    assert before.items() <= times(tmp_path / "out").items()
    assert json.loads((tmp_path / "out/_manifest.json").read_text())["scored"] == 1600


def times(output):
    return {path: path.stat().st_mtime_ns for path in (output / "_receipts").iterdir()}
