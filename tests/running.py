"""Running the jobs as users do: arguments, the exit code, what is printed."""

import io
import logging
import runpy
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import pyarrow.dataset

ROOT = Path(__file__).parents[1]


def run_here(*arguments, expect=0):
    """Run the job in this process, which saves many imports, and check its exit code; what it
    printed, which is no traceback, whatever happened.
    """
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
    assert "Traceback" not in printed.getvalue(), printed.getvalue()[-4000:]
    return printed.getvalue()


def finish(given, job="jobs.rerank"):
    """Run a job in a process of its own, to its end."""
    command = [sys.executable, "-m", job, *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]


def read_output(output):
    """All rows of an output, by PyArrow."""
    return pyarrow.dataset.dataset(str(output), format="parquet").to_table()
