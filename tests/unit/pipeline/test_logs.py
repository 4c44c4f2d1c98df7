"""The error of a worker that could not start is found in Ray's logs."""

import os

from reranker_core.pipeline.logs import startup_problem


def test_the_last_error_of_the_newest_log_is_told(tmp_path):
    old = tmp_path / "worker-1-01-5.err"
    old.write_text("Traceback\nImportError: of long ago\n")
    os.utime(old, (1, 1))
    (tmp_path / "worker-2-01-6.err").write_text(
        "Traceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'ray'\n"
    )
    (tmp_path / "raylet.err").write_text("Error: of something else\n")
    assert startup_problem(tmp_path) == "ModuleNotFoundError: No module named 'ray'"


def test_logs_without_an_error_tell_nothing(tmp_path):
    (tmp_path / "worker-1-01-5.err").write_text(":job_id:01000000\n")
    assert startup_problem(tmp_path) == ""
    assert startup_problem(None) == ""
