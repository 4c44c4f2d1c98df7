"""Imports are not searched for garbage again and again."""

from __future__ import annotations

import gc
import json
import subprocess
import sys

import pytest

from reranker_core.garbage import few_collections


def test_few_collections_within_the_block_and_as_before_after_it() -> None:
    before = gc.get_threshold()
    with pytest.raises(ZeroDivisionError), few_collections():
        _fail_if_not_above(10 * before[0])
    assert gc.get_threshold() == before


def _fail_if_not_above(few: int) -> None:
    assert gc.get_threshold()[0] > few
    raise ZeroDivisionError


PREFLIGHT = """
import atexit, gc, json, sys
counts = [0, 0, 0]
def count(phase, info):
    counts[info["generation"]] += phase == "start"
gc.callbacks.append(count)
atexit.register(lambda: print(json.dumps([counts, gc.get_freeze_count()]), file=sys.stderr))
from reranker_core.command.main import execute
from reranker_core.command.preflight import preflight
sys.argv[1:] = ["model.path=/no/such/folder"]
execute(preflight, "preflight")
"""
DUCKDB = """
import click
from reranker_core.command.main import execute
@click.command()
def command():
    import duckdb
    duckdb.sql("select 1")
execute(command, "command")
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_command_imports_torch_without_full_collections_and_ends_without_one() -> None:
    found = run(PREFLIGHT)
    counts, frozen = json.loads(found.stderr.splitlines()[-1])
    assert found.returncode == 2, found.stderr
    assert counts[2] == 0
    assert frozen > 100_000


def test_a_command_that_uses_duckdb_ends_without_a_word_about_leaks() -> None:
    found = run(DUCKDB)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")
