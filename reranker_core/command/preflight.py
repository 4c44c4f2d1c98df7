"""`batch-reranker preflight`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from reranker_core.command.subcommand import subcommand
from reranker_core.config import Config


@subcommand("preflight", heeds=("model", "score", "preflight"))
@click.option(
    "--json", "report_path", metavar="FILE", type=click.Path(), help="Write the report as JSON."
)
@click.option(
    "--record",
    is_flag=True,
    help="Write the scores of the examples to preflight.golden; later runs are compared with them.",
)
@click.option("--overwrite", is_flag=True, help="With --record: replace the file if it exists.")
@click.option("-v", "--verbose", is_flag=True, help="Show all checks, not only notable ones.")
def preflight(
    config: Config,
    console: Console,
    report_path: str | None,
    record: bool,
    overwrite: bool,
    verbose: bool,
) -> None:
    """Run the preflight checks of a model and print the measurements.

    Exit code 3 means that the model is refused.
    """
    # Late, so that --help and a wrong configuration answer at once.
    import torch

    from reranker_core.checks import Report
    from reranker_core.device import torch_threads
    from reranker_core.errors import ConfigError, PreflightRefused
    from reranker_core.models.checkpoint import open_checkpoint
    from reranker_core.pipeline.cores import usable_cores
    from reranker_core.preflight import golden as golden_scores
    from reranker_core.report.verdict import print_report
    from reranker_core.score.scorer import Scorer

    golden = config.preflight.golden
    if record:
        if golden is None:
            raise ConfigError("--record: set preflight.golden=FILE, the file for the scores")
        golden_scores.check_free(golden, overwrite)
        section = config.preflight.model_copy(update={"golden": None})
        config = config.model_copy(update={"preflight": section})
    refused = None
    try:
        # Torch counts the machine's cores; a container may use fewer.
        with torch_threads(min(torch.get_num_threads(), usable_cores())):
            report = Scorer.load(config).report
    except PreflightRefused as error:
        report, refused = Report.from_dict(error.report), error
    digest = open_checkpoint(config.model).digest
    print_report(report, config.preflight, digest, console, verbose)
    if report_path:
        content = {"digest": digest, **report.as_dict()}
        Path(report_path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if refused is not None:
        raise refused
    if record and golden is not None:
        count = golden_scores.record(report, golden)
        console.print(f"recorded {count} scores to {golden}", highlight=False, soft_wrap=True)
