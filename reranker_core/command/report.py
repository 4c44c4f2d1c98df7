"""`batch-reranker report`."""

from __future__ import annotations

import click

from reranker_core.command.console import make_console
from reranker_core.command.subcommand import Subcommand
from reranker_core.config.working_copy import refuse_in_copy


@click.command("report", cls=Subcommand, codes=(0, 1, 2, 5))
@click.argument("output", metavar="OUTPUT", type=click.Path())
@click.option("--text", is_flag=True, help="Print the report and write nothing.")
def report(output: str, text: bool) -> None:
    """Write a page about an output: what ran, how fast, and whether the scores look right.

    OUTPUT is the output folder of a run, finished or not. The page is OUTPUT/_report.html.
    """
    refuse_in_copy([(output, output)])
    # Late, so that --help and wrong options answer at once.
    from reranker_core.output.manifest import PAGE
    from reranker_core.report.night import read_night
    from reranker_core.report.outcome import outcome
    from reranker_core.report.page import write_page
    from reranker_core.report.text import print_night
    from reranker_core.storage.store import Store

    store, console = Store(output), make_console()
    night = read_night(store)
    if text:
        print_night(night, console)
        return
    write_page(store, night)
    console.print(str(outcome(night)), markup=False, highlight=False, soft_wrap=True)
    console.print(f"{store.shown}/{PAGE}", markup=False, highlight=False, soft_wrap=True)
