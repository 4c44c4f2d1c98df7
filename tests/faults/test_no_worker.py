"""Workers of Ray that cannot start are named, with what they wrote."""

import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from tests.texts import flat_table

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

# Runs in each Python process before anything else; those of Ray end here.
BROKEN = """
import os
import sys

if any(word.endswith("default_worker.py") for word in sys.orig_argv):
    sys.stderr.write("Traceback (most recent call last):\\n  File \\"a.py\\", line 1\\n")
    sys.stderr.write("ImportError: libcudart.so.12: cannot open shared object file\\n")
    sys.stderr.flush()
    os._exit(1)
"""


def test_a_worker_that_cannot_start_ends_the_run_with_its_own_words(tmp_path, bert):
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    pq.write_table(flat_table(10, seed=1), tmp_path / "in.parquet")
    settings = [f"input.path={tmp_path}/in.parquet", f"output.path={tmp_path}/out"]
    ended = subprocess.run(
        [sys.executable, "-m", "jobs.rerank", *settings, f"model.path={bert}"],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "RAY_ADDRESS": ""},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ended.returncode == 2
    assert "no worker of Ray can start" in ended.stderr
    assert "ImportError: libcudart.so.12" in ended.stderr
    assert "Traceback" not in ended.stderr
