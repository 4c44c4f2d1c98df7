"""What tests/cuda replaces by name exists; mypy checks the rest of these tests without a GPU."""

import pkgutil
import re

import pytest

from tests.running import ROOT

TEXTS = [file.read_text() for file in sorted((ROOT / "tests/cuda").glob("*.py"))]
NAMES = [name for text in TEXTS for name in re.findall(r'"(reranker_core[\w.]+)"', text)]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_tests_on_a_gpu_replace_exists(name):
    assert pkgutil.resolve_name(name) is not None
