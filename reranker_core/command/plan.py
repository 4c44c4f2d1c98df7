"""`batch-reranker plan`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

from reranker_core.command.json_file import require_folder, write_json
from reranker_core.command.subcommand import subcommand
from reranker_core.config import Config
from reranker_core.errors import ConfigError

if TYPE_CHECKING:
    from reranker_core.prepare import Prepared
    from reranker_core.report.speed import Replicas


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
    from reranker_core.report.speed import speed_of
    from reranker_core.report.summary import print_estimate
    from reranker_core.report.workload import workload

    here = replicas_here(prepared)
    work = workload(prepared)
    speed = speed_of(prepared, work, here)
    found = None
    if speed is not None:
        price = config.plan.price_per_hour
        number = here.number if here else config.replicas.max
        found = estimates.estimate(work, speed, number, price)
    print_estimate(work, speed, found, console)
    if path:
        write_json(path, estimates.as_dict(work, speed, found))


def replicas_here(prepared: Prepared) -> Replicas | None:
    """The replicas of a run that starts a Ray of its own; None on a cluster. A configuration with
    more replicas than this machine has room for is taken for one of a cluster.
    """
    import torch

    from reranker_core.device import processor
    from reranker_core.pipeline.placement import TASK_SLOTS, node, place
    from reranker_core.prepare import joins_cluster
    from reranker_core.report.speed import Replicas
    from reranker_core.score.cores import usable_cores

    config = prepared.config
    if joins_cluster(config):
        return None
    gpus = 0 if config.model.device == "cpu" else torch.cuda.device_count()
    this = node(usable_cores() + TASK_SLOTS, gpus, config.replicas.accelerator_type)
    try:
        found = place(config, sys.maxsize, True, [this])
    except ConfigError:  # there is no room for any
        return None
    if found.max < (config.replicas.max or 1):
        return None
    return Replicas(
        max(1, min(found.max, len(prepared.todo))),
        found.num_cpus,
        found.num_gpus,
        processor("cuda" if found.num_gpus else "cpu"),
    )


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
