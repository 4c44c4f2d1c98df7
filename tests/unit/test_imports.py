"""What a process loads is what it needs: imports are most of the time that a small run takes."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "ray.data", "transformers.modeling_utils")


@pytest.mark.parametrize(
    ("module", "loaded"),
    [
        ("jobs.cli", ""),
        ("reranker_core.proof", ""),
        ("reranker_core.manifest, reranker_core.summary", ""),
        ("reranker_core.pipeline.tasks", ""),
        ("reranker_core.pipeline.coordinator", ""),
        ("reranker_core.prepare", "torch transformers"),  # which tokenizers need
    ],
)
def test_a_module_loads_no_more_than_it_needs(module, loaded):
    show = f"print(*(name for name in {HEAVY} if name in sys.modules))"
    found = subprocess.check_output(
        [sys.executable, "-c", f"import sys, {module}; {show}"], text=True
    )
    assert found.strip() == loaded
