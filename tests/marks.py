"""How tests say when they run."""

from __future__ import annotations

import pytest


def more(*case: object) -> object:
    """A case of what other cases show, for `make test-all`."""
    return pytest.param(*case, marks=pytest.mark.exhaustive)
