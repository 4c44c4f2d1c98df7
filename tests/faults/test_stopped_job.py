"""SIGTERM and SIGINT: exit code 5, and the same command goes on from there."""

import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from tests.running import ROOT
from tests.texts import flat_table

pytestmark = pytest.mark.whole_job


def test_a_stopped_run_exits_5_and_the_next_goes_on_from_there(tmp_path, bert):
    pq.write_table(flat_table(6000, seed=1), tmp_path / "in.parquet")
    receipts = tmp_path / "out/_receipts"
    before = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        stop(tmp_path, bert, number, lambda earlier=before: set(receipts.glob("*")) > earlier)
        now = set(receipts.iterdir())
        assert now > before
        assert not (tmp_path / "out/_SUCCESS").exists()
        before = now


def stop(folder, model, number, when):
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "jobs.rerank"),
            f"input.path={folder}/in.parquet",
            f"output.path={folder}/out",
            f"model.path={model}",
            "preflight.checks.meaning=off",
            "plan.part_rows=100",
            "ray.address=local",
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not when():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == 5, printed
    assert f"stopped by {number.name}" in printed
