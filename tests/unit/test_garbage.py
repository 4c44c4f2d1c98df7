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
    gc.unfreeze()
    assert gc.get_threshold() == before


def _fail_if_not_above(few: int) -> None:
    assert gc.get_threshold()[0] > few
    raise ZeroDivisionError


COMMAND = """
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


def test_a_command_imports_torch_without_full_collections_and_freezes_what_it_made() -> None:
    found = subprocess.run(
        [sys.executable, "-c", COMMAND], capture_output=True, text=True, check=False
    )
    counts, frozen = json.loads(found.stderr.splitlines()[-1])
    assert found.returncode == 2, found.stderr
    assert counts[2] == 0
    assert frozen > 100_000
