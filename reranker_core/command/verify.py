"""`batch-reranker verify`."""

from __future__ import annotations

import time

from rich.console import Console

from reranker_core.command.subcommand import subcommand
from reranker_core.config import Config

_LIMIT = "max_quarantined_fraction"


@subcommand(
    "verify",
    heeds=("output.path", "guard.max_quarantined_fraction", "verify"),
    folder="output.path",
)
def verify(config: Config, console: Console) -> None:
    """Prove that an output is complete and unchanged, using only its own files.

    OUTPUT is the output folder of a run, as in output.path=OUTPUT. This
    command does not read the input or the model, and changes nothing. The limit on quarantined
    pairs is the one that the run used. guard.max_quarantined_fraction replaces it.
    """
    # Late, so that --help and a wrong configuration answer at once.
    from reranker_core.output import manifest
    from reranker_core.output.identity import require_recorded
    from reranker_core.report.summary import print_proof
    from reranker_core.storage.store import Store

    start = time.monotonic()
    store = Store(config.output.path)
    run = require_recorded(store)
    if _LIMIT not in config.guard.model_fields_set:
        limits = manifest.recorded_manifest(store).get("configuration", {}).get("guard", {})
        recorded = {name: limit for name, limit in limits.items() if name == _LIMIT}
        config = config.model_copy(update={"guard": config.guard.model_copy(update=recorded)})
    totals = manifest.verify(store, run, config)
    print_proof(totals, store, time.monotonic() - start, console)
