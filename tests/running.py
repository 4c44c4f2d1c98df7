"""Running the jobs as users do: a process, its exit code, what it prints."""

import io
import logging
import os
import runpy
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

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


def run_here(*arguments, expect=0):
    """As `run_job`, in this process and on the Ray that it has joined; saves many imports."""
    printed = io.StringIO()
    logged = logging.StreamHandler(printed)
    logging.getLogger().addHandler(logged)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    code = 0
    try:
        with (
            mock.patch.object(sys, "argv", ["jobs.rerank", *arguments]),
            redirect_stdout(printed),
            redirect_stderr(printed),
        ):
            runpy.run_module("jobs.rerank", run_name="__main__")
    except SystemExit as end:
        code = end.code
    finally:
        logging.getLogger().removeHandler(logged)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert code == expect, printed.getvalue()[-4000:]
    return printed.getvalue()
