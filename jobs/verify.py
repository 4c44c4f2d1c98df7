"""Prove a finished output from its objects alone: python -m jobs.verify --config FILE [key=value]

Reads no input and no model, and changes nothing.
"""

from __future__ import annotations

import sys
import time

from jobs.cli import Arguments, main
from reranker_core.config import Config


def verify(config: Config, arguments: Arguments) -> None:
    """Prove it, and print what was proven."""
    from reranker_core.output import manifest
    from reranker_core.output.identity import require_recorded
    from reranker_core.report.summary import print_proof
    from reranker_core.storage.store import Store

    start = time.monotonic()
    store = Store(config.output.path)
    totals = manifest.verify(store, require_recorded(store), config)
    print_proof(totals, store, time.monotonic() - start, arguments.console)


if __name__ == "__main__":
    # Only output and limits are looked at.
    unused = {"input.path": "unused", "model.path": "unused"}
    sys.exit(main(verify, __doc__, placeholders=unused))
