"""SIGTERM and SIGINT: exit code 5, nothing lost, and the same command finishes."""

import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from tests.running import ROOT, run_job
from tests.texts import flat_table


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_exits_5_and_resumes(tmp_path, bert, number):
    pq.write_table(flat_table(6000, seed=1), tmp_path / "in.parquet")
    arguments = [
        f"input.path={tmp_path}/in.parquet",
        f"output.path={tmp_path}/out",
        f"model.path={bert}",
        "preflight.checks.meaning=off",
        "plan.part_rows=200",
        "ray.address=local",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.rerank", *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((tmp_path / "out").glob("_receipts/*.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == 5, printed
    assert f"stopped by {number.name}" in printed
    assert not (tmp_path / "out/_SUCCESS").exists()
    if number == signal.SIGTERM:  # once is enough: both leave the same state
        run_job(*arguments)
        assert (tmp_path / "out/_SUCCESS").exists()
