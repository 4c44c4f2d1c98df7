"""`ray job submit` as the README shows it: completes, exits as documented, resumes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from tests.running import ROOT
from tests.texts import flat_table

RAY = Path(sys.executable).parent / "ray"


def submit(cluster, *arguments, options=()):
    command = [RAY, "job", "submit", "--address", cluster.dashboard, "--working-dir", "."]
    command += options
    entrypoint = [sys.executable, "-m", "jobs.rerank", "--config", "configs/local.yaml"]
    done = subprocess.run(
        [*command, "--", *entrypoint, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def job(cluster, *arguments):
    command = [RAY, "job", *arguments, "--address", cluster.dashboard]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def test_a_job_is_stopped_then_completes_and_is_not_mixed_with_another(ray_cluster, bert, tmp_path):
    pq.write_table(flat_table(3000, seed=2), tmp_path / "in.parquet")
    arguments = [
        f"input.path={tmp_path}/in.parquet",
        f"output.path={tmp_path}/out",
        f"model.path={bert}",
        "preflight.checks.meaning=off",
        "plan.part_rows=50",
    ]
    name = f"stopped-{tmp_path.parent.name}"
    submit(ray_cluster, *arguments, options=["--no-wait", "--submission-id", name])
    end = time.monotonic() + 180
    while not list((tmp_path / "out").glob("_receipts/*.json")):
        assert time.monotonic() < end, job(ray_cluster, "logs", name)
        time.sleep(0.05)
    assert "was stopped" in job(ray_cluster, "stop", name)
    assert not (tmp_path / "out/_SUCCESS").exists()
    before = times(tmp_path / "out")
    assert len(before) < 60

    code, printed = submit(ray_cluster, *arguments)
    assert code == 0, printed
    assert (tmp_path / "out/_SUCCESS").exists()
    assert before.items() <= times(tmp_path / "out").items()
    assert json.loads((tmp_path / "out/_manifest.json").read_text())["scored"] == 3000

    code, printed = submit(ray_cluster, *arguments, "model.max_length=32")
    assert code != 0
    assert "exit code 6" in printed.lower() or "belongs to another run" in printed


def times(output):
    return {path: path.stat().st_mtime_ns for path in (output / "_receipts").iterdir()}
