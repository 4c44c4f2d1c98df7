"""Messages on standard error, as text or as JSON objects."""

from __future__ import annotations

import json
import logging

import pytest

from reranker_core.command.messages import set_up_messages, tell_error


@pytest.fixture
def fresh(monkeypatch):
    """Make logging as at the start of a process; pytest adds a handler just before each test."""
    root = logging.getLogger()
    level = root.level
    yield lambda: monkeypatch.setattr(root, "handlers", [])
    root.setLevel(level)


def test_json_logs_have_one_object_a_line(fresh, capsys):
    fresh()
    set_up_messages("json")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("reranker_core.pipeline").exception("part %s failed: é", "a-1")
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert found.pop("time").endswith("+00:00")
    assert found.pop("traceback").endswith("ValueError: two\nlines")
    assert found == {
        "level": "ERROR",
        "logger": "reranker_core.pipeline",
        "message": "part a-1 failed: é",
    }


def test_the_error_that_ends_a_command_has_no_credentials(capsys):
    tell_error("input.path=ftp://me:secret@host/a: cannot be listed")
    assert capsys.readouterr().err == "error: input.path=ftp://me:***@host/a: cannot be listed\n"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_log_lines_have_no_credentials(fresh, capsys, log_format):
    fresh()
    set_up_messages(log_format)
    try:
        raise OSError("https://me:secret@host/a?token=secret")
    except OSError:
        logging.getLogger("reranker_core.input").exception("%s fails", "ftp://me:secret@host/a")
    told = capsys.readouterr().err
    assert "ftp://me:***@host/a fails" in told
    assert "secret" not in told


def test_messages_cannot_command_a_terminal(fresh, capsys):
    odd, shown = "a\x1b[2J\x9b1m\rb\tc\nd", r"a\x1b[2J\x9b1m\rb" + "\tc\nd"
    tell_error(odd)
    fresh()
    set_up_messages("text")
    logging.getLogger("reranker_core.input").info("shard %s", odd)
    first, second = capsys.readouterr().err.split("INFO")
    assert first.startswith(f"error: {shown}\n")
    assert second == f" shard {shown}\n"


@pytest.mark.parametrize("by", ["option", "environment"])
def test_the_error_that_ends_a_command_is_an_object_too(fresh, typed, monkeypatch, tmp_path, by):
    fresh()
    words = ["plan", f"input.path={tmp_path}/none", "output.path=out", "model.path=m"]
    if by == "option":
        words += ["--log-format", "json"]
    else:
        monkeypatch.setenv("BATCH_RERANKER_LOG_FORMAT", "json")
    code, out, err = typed(*words)
    found = [json.loads(line) for line in err.splitlines()]
    assert (code, out, found[-1]["level"]) == (2, "", "ERROR")
    assert f"{tmp_path}/none" in found[-1]["message"]


def test_messages_are_text_by_default(fresh, typed, tmp_path):
    fresh()
    code, _, err = typed("plan", f"input.path={tmp_path}/none", "output.path=out", "model.path=m")
    assert code == 2
    assert err.splitlines()[-1].startswith("error: ")


def test_a_subcommand_without_a_configuration_writes_json_too(fresh, typed, tmp_path):
    fresh()
    code, _, errors = typed("report", str(tmp_path), "--log-format", "json")
    assert code == 2
    assert json.loads(errors.splitlines()[-1])["level"] == "ERROR"
