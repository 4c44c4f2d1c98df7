"""`batch-reranker plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console

from reranker_core.command.json_file import require_folder, write_json
from reranker_core.command.subcommand import subcommand
from reranker_core.config import Config
from reranker_core.errors import ConfigError

if TYPE_CHECKING:
    from reranker_core.prepare import Prepared


@subcommand("plan", repeats=True)
@click.option(
    "--estimate",
    is_flag=True,
    help="Also estimate tokens, time and price from a sample. Prints three pairs of the input.",
)
@click.option(
    "--json",
    "path",
    metavar="FILE",
    help="With --estimate: also write the estimate as JSON, without texts.",
)
def plan(config: Config, console: Console, estimate: bool, path: str | None) -> None:
    """Show what a run would do: input, parts, and the number of parts that are already scored.

    Reads the input's footers and the model's files. Starts no Ray and writes nothing to the output.
    """
    if path and not estimate:
        raise ConfigError("--json: use it with --estimate")
    require_folder(path)
    prepared = show_plan(config, console)
    if not estimate:
        return
    from reranker_core.report import estimate as estimates
    from reranker_core.report.summary import print_estimate
    from reranker_core.report.workload import workload

    work = workload(prepared)
    speed = estimates.speed_of(prepared, work)
    found = None
    if speed is not None:
        price = config.plan.price_per_hour
        found = estimates.estimate(work, speed, config.replicas.max, price)
    print_estimate(work, speed, found, console)
    if path:
        write_json(path, estimates.as_dict(work, speed, found))


def show_plan(config: Config, console: Console) -> Prepared:
    """Prepare a run and print its plan."""
    # Late, so that --help and a wrong configuration answer at once.
    from reranker_core.prepare import prepare
    from reranker_core.report.assessment import require_assessable
    from reranker_core.report.summary import print_plan

    prepared = prepare(config)
    require_assessable(config, prepared.plan.schema)
    print_plan(prepared, console)
    return prepared
