"""Python's garbage collector, and the objects that imports make.

torch, transformers and Ray make hundreds of thousands of objects when they are imported, and these
stay until the process ends. By default, Python looks at all of them several times during the
imports, and at the end of the process.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_RARELY = 50_000  # new objects until the next collection; Python's default is 700


@contextmanager
def few_collections() -> Iterator[None]:
    """Collect garbage rarely within the `with` block."""
    before = gc.get_threshold()
    gc.set_threshold(_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def skip_last_collections() -> None:
    """Do not search for garbage at the end of this process: after an import of torch, that takes
    0.7 s. With duckdb it is necessary, because duckdb prints forty lines about objects that were
    not collected.
    """
    if "duckdb" not in sys.modules:
        gc.freeze()
