"""What errors of a real GPU mean. Each is raised in a process of its own, which may lose the GPU by
it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from reranker_core.device import is_out_of_memory
from tests.running import ROOT

PROGRAM = """
import json, torch
from reranker_core.device import is_lost, is_out_of_memory, may_pass, release_memory
device = torch.device("{gpu}", 0)
torch.ones(2, device=device).sum().item()
try:
    {cause}
    torch.cuda.synchronize(device)
    raise SystemExit("nothing was raised")
except Exception as error:
    found = {{
        "text": str(error),
        "kind": [kind.__name__ for kind in type(error).__mro__],
        "memory": is_out_of_memory(error),
        "passes": may_pass(error),
        "lost": is_lost(error, device),
    }}
try:
    release_memory(device)
    found["released"] = "yes"
except Exception as error:
    found["released"] = str(error)
print(json.dumps(found))
"""
PRODUCTS = """
import torch
from reranker_core.device import exact_float32
torch.manual_seed(0)
one, other = (torch.randn(2048, 2048, device="{gpu}") for _ in range(2))
expected = one.double() @ other.double()
def error():
    return ((one @ other).double() - expected).abs().max().item() / expected.std().item()
before = error()
exact_float32()
print(before, error())
"""
CAUSES = {
    "an index out of range": "torch.nn.Embedding(4, 4).to(device)(torch.tensor([9]).to(device))",
    "an illegal address": (
        "torch.cuda.jiterator._create_jit_fn('template <typename T> T far(T x) "
        "{ return x + *reinterpret_cast<T*>(64ull); }')(torch.ones(4, device=device))"
    ),
    "an assertion of torch": "torch._assert_async(torch.zeros(1, device=device))",
    "shapes that do not fit": "torch.ones(2, 3, device=device) @ torch.ones(4, 5, device=device)",
    "number formats that differ": (
        "torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device).half()"
    ),
    "a tensor of the CPU": "torch.ones(2, 2, device=device) @ torch.ones(2, 2)",
    "a huge tensor": "torch.empty(1 << 48, dtype=torch.uint8, device=device)",
    "a share that is full": (
        "torch.cuda.set_per_process_memory_fraction(0.001); "
        "torch.empty(1 << 31, dtype=torch.uint8, device=device)"
    ),
}
LOST = ["an index out of range", "an illegal address", "an assertion of torch"]
BUGS = ["shapes that do not fit", "number formats that differ", "a tensor of the CPU"]
MEMORY = ["a huge tensor", "a share that is full"]
ALL_OF_IT = "[torch.empty(1 << 30, dtype=torch.uint8, device=device) for _ in range(1000)]"
TF32 = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"


@pytest.fixture(scope="module")
def processes(gpu: str) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All at the same time, for importing torch takes seconds."""
    programs = {name: PROGRAM.format(gpu=gpu, cause=cause) for name, cause in CAUSES.items()}
    programs[TF32] = PRODUCTS.format(gpu=gpu)
    started = {name: start(program) for name, program in programs.items()}
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


def start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {TF32: "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=120)
    assert output.strip(), f"exit code {process.returncode}: {errors[-3000:]}"
    return output.strip().splitlines()[-1]


@pytest.mark.parametrize("name", LOST)
def test_a_gpu_that_computes_no_more_is_lost(name: str, processes: dict[str, Any]):
    found = json.loads(said(processes[name]))
    assert found["lost"], str(found)
    assert not found["memory"], str(found)
    assert not found["passes"], str(found)
    assert "RuntimeError" in found["kind"], str(found)
    assert found["released"] != "yes", str(found)  # whoever goes on is told again


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_none_of_these(name: str, processes: dict[str, Any]):
    found = json.loads(said(processes[name]))
    assert not found["lost"], str(found)
    assert not found["memory"], str(found)
    assert found["released"] == "yes", str(found)


@pytest.mark.parametrize("name", MEMORY)
def test_too_little_memory_is_told_by_class_and_by_words(name: str, processes: dict[str, Any]):
    assert_out_of_memory(json.loads(said(processes[name])))


def assert_out_of_memory(found: dict[str, Any]) -> None:
    assert found["memory"], str(found)
    assert found["passes"], str(found)
    assert not found["lost"], str(found)
    assert found["released"] == "yes", str(found)
    assert "OutOfMemoryError" in found["kind"], str(found)
    assert is_out_of_memory(RuntimeError(found["text"])), str(found)


def test_float32_products_are_exact_whatever_a_container_sets(processes: dict[str, Any]):
    before, found = map(float, said(processes[TF32]).split())
    assert found < 1e-4 < before, f"relative error {found:.1e}; {before:.1e} with TF32"


def test_a_gpu_that_is_full_is_not_lost(gpu: str, processes: dict[str, Any]):
    for process in processes.values():
        process.wait(120)  # they need memory, too
    assert_out_of_memory(json.loads(said(start(PROGRAM.format(gpu=gpu, cause=ALL_OF_IT)))))
