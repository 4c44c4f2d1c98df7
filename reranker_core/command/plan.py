"""`batch-reranker plan`."""

from __future__ import annotations

from rich.console import Console

from reranker_core.command.subcommand import subcommand
from reranker_core.config import Config


@subcommand("plan", repeats=True)
def plan(config: Config, console: Console) -> None:
    """Show what a run would do: input, parts, and the number of parts that are already scored.

    Reads the input's footers and the model's files. Starts no Ray and writes nothing.
    """
    show_plan(config, console)


def show_plan(config: Config, console: Console) -> None:
    """Prepare a run and print its plan."""
    # Late, so that --help and a wrong configuration answer at once.
    from reranker_core.prepare import prepare
    from reranker_core.report.summary import print_plan

    print_plan(prepare(config), console)
