"""What is printed where there is no terminal: whole lines, without blanks at their ends."""

from __future__ import annotations

import re
import sys

import pytest
from rich.markup import escape
from rich.table import Table

from reranker_core.command.console import make_console
from reranker_core.report.summary import _table

PATH = "s3://bucket/" + "/".join(f"a-long-folder-name-{i}" for i in range(30))


def test_a_path_in_a_table_stays_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    table = Table(title="Plan", show_header=False, title_justify="left", box=None)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("rows", "3")
    table.add_row("output", PATH)
    make_console().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith(PATH) for line in lines)
    assert lines == [line.rstrip() for line in lines]
    assert len(lines) == 3


def test_a_line_stays_a_line(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    make_console().print(f"model.digest={'0' * 64} of {PATH}")
    assert capsys.readouterr().out == f"model.digest={'0' * 64} of {PATH}\n"


def test_texts_of_users_are_printed_as_they_are(capsys):
    make_console().print("a :warning: of b", markup=False)
    table = _table("t")
    table.add_row("[label]", "s3://b/[/x]/:x:")
    make_console().print(table)
    printed = capsys.readouterr().out
    assert "a :warning: of b" in printed
    assert "[label]" in printed
    assert "s3://b/[/x]/:x:" in printed


@pytest.mark.parametrize("terminal", [False, True])
def test_texts_of_users_cannot_command_a_terminal(capsys, monkeypatch, terminal):
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: terminal)
    monkeypatch.setenv("COLUMNS", "200")
    odd = "id\x1b[2J\x1b]0;title\x07\x9b31m\x00 ends\there"
    console = make_console()
    console.print(escape(odd))
    table = _table("t")
    table.add_row(odd, odd)
    console.print(table)
    printed = capsys.readouterr().out
    plain = printed if not terminal else re.sub(r"\x1b\[[0-9;]*m", "", printed)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", plain)
    assert plain.count(r"id\x1b[2J\x1b]0;title\x07\x9b31m\x00 ends") == 3


def test_a_terminal_has_its_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
    assert make_console().width == 60
