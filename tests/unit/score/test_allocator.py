"""Batches get the memory of the ones before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from reranker_core.score.allocator import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_freed_memory()
def layers():
    for _ in range(60):
        found = [torch.ones(1 << 20) for _ in range(4)]
layers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
layers()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
PAGES = 60 * 4 * (1 << 20) * 4 // 4096  # of all rounds


def page_faults(how: str) -> int:
    command = [sys.executable, "-c", CODE, how]
    done = subprocess.run(command, env=os.environ | GIVES_BACK, capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_memory_that_is_freed_needs_no_new_pages():
    assert page_faults("kept") < PAGES / 10  # those of a heap that still grows
    assert page_faults("as it is") > PAGES / 2
