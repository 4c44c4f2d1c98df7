"""The error of a worker that could not start is found in Ray's logs."""

import os

import pytest

from reranker_core.pipeline.logs import startup_problem

TRACEBACK = "Traceback (most recent call last):\n  File x\n"


def test_the_last_error_of_the_newest_log_is_told(tmp_path):
    old = tmp_path / "worker-1-01-5.err"
    old.write_text(f"{TRACEBACK}ImportError: of long ago\n")
    os.utime(old, (1, 1))
    (tmp_path / "worker-2-01-6.err").write_text(
        f"{TRACEBACK}ModuleNotFoundError: No module named 'ray'\n"
    )
    (tmp_path / "raylet.err").write_text("[2026 E 8228] some Error: of the node itself\n")
    assert startup_problem(tmp_path) == "ModuleNotFoundError: No module named 'ray'"


def test_what_was_written_before_is_not_told(tmp_path):
    log = tmp_path / "raylet.err"
    log.write_text(f"{TRACEBACK}ImportError: of another run\n")
    assert startup_problem(tmp_path, log.stat().st_mtime + 1) == ""
    assert startup_problem(tmp_path, log.stat().st_mtime) == "ImportError: of another run"


def test_a_worker_that_ended_before_it_had_a_log_is_found_in_that_of_its_node(tmp_path):
    (tmp_path / "raylet.err").write_text(
        f"{TRACEBACK}ImportError: no ray\n"
        "[2026-11-25 14:18:14,481 E 8228 8228] Some workers have not registered\n"
    )
    assert startup_problem(tmp_path) == "ImportError: no ray"


def test_what_a_program_tells_of_its_end_is_found(tmp_path):
    (tmp_path / "runtime_env_setup-01.log").write_text("Using Python 3.11\nerror: no such file\n")
    assert startup_problem(tmp_path) == "error: no such file"


@pytest.mark.parametrize(
    "harmless",
    [
        ":job_id:01000000\n",
        "ImportError: a package is missing, and something else is used\n",
        f"Exception ignored in: <function x>\n{TRACEBACK}AttributeError: at the end\n",
        "Traceback (most recent call last):\n  File x\n",  # not written to its end yet
    ],
)
def test_logs_without_an_error_that_ended_a_program_tell_nothing(tmp_path, harmless):
    (tmp_path / "worker-1-01-5.err").write_text(harmless)
    assert startup_problem(tmp_path) == ""
    assert startup_problem(None) == ""
