"""A folder that holds another version of the package: Ray's workers would load that one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.running import ROOT
from tests.texts import flat_table

pytestmark = pytest.mark.slow


def test_a_run_that_is_started_beside_other_code_exits_2_and_says_where(shared_ray, bert, tmp_path):
    pq.write_table(flat_table(20, seed=1), tmp_path / "in.parquet")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "reranker_core", tmp_path / "reranker_core", ignore=ignored)
    with (tmp_path / "reranker_core/stopping.py").open("a") as file:
        file.write("\n# of another version\n")
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "batch-reranker", "run"),
            *("input.path=in.parquet", "output.path=out", f"model.path={bert}"),
            "preflight.checks.meaning=off",
        ],
        cwd=tmp_path,
        env=os.environ | {"RAY_ADDRESS": shared_ray.address},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"from {tmp_path}/reranker_core on node " in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("*.parquet"))
