"""`batch-reranker verify`."""

from __future__ import annotations

import time

from rich.console import Console

from reranker_core.command.subcommand import subcommand
from reranker_core.config import Config


@subcommand(
    "verify",
    heeds=("output.path", "guard.max_quarantined_fraction", "verify"),
    folder="output.path",
)
def verify(config: Config, console: Console) -> None:
    """Prove that an output is complete and unchanged, using only its own files.

    OUTPUT is the output folder of a run, as in output.path=OUTPUT. Does not read the input or the
    model, and changes nothing.
    """
    # Late, so that --help and a wrong configuration answer at once.
    from reranker_core.output import manifest
    from reranker_core.output.identity import require_recorded
    from reranker_core.report.summary import print_proof
    from reranker_core.storage.store import Store

    start = time.monotonic()
    store = Store(config.output.path)
    totals = manifest.verify(store, require_recorded(store), config)
    print_proof(totals, store, time.monotonic() - start, console)
