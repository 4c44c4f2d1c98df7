"""The console script. It handles ctrl-C before it imports anything that takes time."""

from __future__ import annotations

from reranker_core.stopping import exit_on_signals


def main() -> None:
    """Run `batch-reranker` with the arguments of this process."""
    exit_on_signals()
    from reranker_core.command.main import main as execute

    execute()
