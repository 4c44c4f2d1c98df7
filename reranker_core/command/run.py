"""`batch-reranker run`."""

from __future__ import annotations

import time

import click
from rich.console import Console

from reranker_core.command.plan import show_plan
from reranker_core.command.subcommand import subcommand
from reranker_core.config import Config


@subcommand("run", repeats=True)
@click.option("--dry-run", is_flag=True, help="Show the plan and stop, like 'batch-reranker plan'.")
def run(config: Config, console: Console, dry_run: bool) -> None:
    """Score all pairs of the input, or the remaining ones if the output was started before."""
    if dry_run:
        show_plan(config, console)
        return
    # Late, so that --help and a wrong configuration answer at once.
    from reranker_core.prepare import prepare
    from reranker_core.report.assessment import require_assessable
    from reranker_core.report.summary import print_totals

    start = time.monotonic()
    prepared = prepare(config)
    require_assessable(config, prepared.plan.schema)
    from reranker_core.pipeline.run import run as run_prepared

    totals = run_prepared(prepared)
    print_totals(totals, prepared, time.monotonic() - start, console)
