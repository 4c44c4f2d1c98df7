"""Running the jobs as users do: a process, its exit code, what it prints."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 240


def run_job(*arguments, expect=0):
    """Run the job to its end and check its exit code; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs.rerank", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "default::DeprecationWarning"},
    )
    assert done.returncode == expect, done.stdout[-2000:] + done.stderr[-4000:]
    printed = done.stdout + done.stderr
    assert "RayDeprecationWarning" not in printed, printed  # it announces what the next Ray lacks
    return printed
