"""SIGTERM and SIGINT: exit code 5, and the same command goes on from there."""

import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from tests.running import ROOT
from tests.shared_ray import meanwhile
from tests.texts import flat_table

pytestmark = pytest.mark.slow


def test_a_run_that_sigterm_stops_exits_5(tmp_path, bert):
    pq.write_table(flat_table(6000, seed=1), tmp_path / "in.parquet")
    receipts = tmp_path / "out/_receipts"
    printed = stop_a_process(tmp_path, bert, lambda: set(receipts.glob("*")))
    assert "stopped by SIGTERM" in printed
    assert not (tmp_path / "out/_SUCCESS").exists()


@pytest.mark.exhaustive
def test_a_run_that_sigint_stops_goes_on_from_where_an_earlier_one_stopped(tmp_path, bert, rerank):
    pq.write_table(flat_table(6000, seed=1), tmp_path / "in.parquet")
    receipts = tmp_path / "out/_receipts"
    stop_a_process(tmp_path, bert, lambda: set(receipts.glob("*")))
    before = set(receipts.iterdir())

    def interrupt():
        while not set(receipts.iterdir()) > before:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    with meanwhile(interrupt):
        settings = ("model.dtype=auto", "plan.part_rows=100")
        printed = rerank(tmp_path / "in.parquet", tmp_path / "out", *settings, expect=5)
    assert "stopped by SIGINT" in printed
    assert set(receipts.iterdir()) > before
    assert not (tmp_path / "out/_SUCCESS").exists()


def stop_a_process(folder, model, when):
    """SIGTERM to a job with a Ray of its own, which ends with it; what it printed."""
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
        env=os.environ | {"PYTHONWARNINGS": "default::DeprecationWarning"},
    )
    while not when():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == 5, printed
    assert "Traceback" not in printed
    # They announce what the next Ray lacks, or name settings that users of this job do not have.
    assert "RayDeprecationWarning" not in printed, printed
    assert "UserWarning" not in printed, printed
    return printed
