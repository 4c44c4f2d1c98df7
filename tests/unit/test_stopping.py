"""A signal ends a job as an error does; another one does not disturb that."""

import signal
import subprocess
import sys

import pytest

from tests.running import ROOT

JOB = """
import sys, time
from reranker_core.stopping import Stopped, stop_on_signals

stop_on_signals()
try:
    print("at work", flush=True)
    while True:
        try:
            time.sleep(60)
        except Exception:
            print("taken for an error", flush=True)
except Stopped as error:
    print("shutting down", flush=True)
    print(sys.stdin.readline(), end="")
    sys.exit(f"{error.exit_code} {error}")
"""


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_an_error_and_others_leave_its_way_out_alone(first):
    pipe = subprocess.PIPE
    job = subprocess.Popen(
        [sys.executable, "-c", JOB], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    assert job.stdout.readline() == "at work\n"
    job.send_signal(first)
    assert job.stdout.readline() == "shutting down\n"
    job.send_signal(signal.SIGTERM)
    assert "kill -9" in job.stderr.readline()
    job.send_signal(signal.SIGINT)
    assert "kill -9" in job.stderr.readline()
    printed, errors = job.communicate("shut down in order\n", timeout=30)
    assert printed == "shut down in order\n"
    assert errors.startswith(f"5 stopped by {first.name}. Nothing is lost")


@pytest.mark.parametrize("program", [["-m", "jobs.rerank"], ["-c", "from reranker_core.command "
                                     "import entry; entry.main()"]])  # fmt: skip
def test_ctrl_c_while_the_command_is_imported_is_one_line(program):
    job = subprocess.Popen(
        [sys.executable, "-X", "importtime", *program], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    while "click.exceptions" not in job.stderr.readline():
        assert job.poll() is None
    job.send_signal(signal.SIGINT)
    _, errors = job.communicate(timeout=30)
    told = [line for line in errors.splitlines() if not line.startswith("import time:")]
    assert told == ["error: stopped by SIGINT"]
    assert job.returncode == 5
