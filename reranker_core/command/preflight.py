"""`batch-reranker preflight`."""

from __future__ import annotations

import click
from rich.console import Console

from reranker_core.command.json_file import require_folder, write_json
from reranker_core.command.subcommand import subcommand
from reranker_core.config import Config


@subcommand("preflight", heeds=("model", "score", "preflight", "input.columns"))
@click.option(
    "--json", "report_path", metavar="FILE", type=click.Path(), help="Write the report as JSON."
)
@click.option(
    "--record",
    is_flag=True,
    help="Write the canary scores to preflight.golden; later runs are compared with them.",
)
@click.option(
    "--canaries-from",
    metavar="INPUT",
    help="Make your own canaries (test pairs) from a sample of this input, and write them to "
    "preflight.canaries. The model must be one that you trust.",
)
@click.option("--overwrite", is_flag=True, help="Replace the files of these options if they exist.")
@click.option("-v", "--verbose", is_flag=True, help="Show all checks, not only notable ones.")
def preflight(
    config: Config,
    console: Console,
    report_path: str | None,
    record: bool,
    canaries_from: str | None,
    overwrite: bool,
    verbose: bool,
) -> None:
    """Run the preflight checks of a model and print the measurements.

    Exit code 3 means that the model is refused.
    """
    require_folder(report_path)
    # Late, so that --help and a wrong configuration answer at once.
    import torch

    from reranker_core.checks import Report
    from reranker_core.device import torch_threads
    from reranker_core.errors import ConfigError, PreflightRefused
    from reranker_core.input.sample import sample_queries
    from reranker_core.models.checkpoint import open_checkpoint
    from reranker_core.preflight import golden as golden_scores
    from reranker_core.preflight.own_canaries import (
        PASSAGES,
        QUERIES,
        make_canaries,
        write_canaries,
    )
    from reranker_core.report.verdict import print_report, verdict
    from reranker_core.score.cores import usable_cores
    from reranker_core.score.loading import load_scorer

    golden, canaries = config.preflight.golden, config.preflight.canaries
    if record:
        if golden is None:
            raise ConfigError("--record: set preflight.golden=FILE, the file for the scores")
        golden_scores.check_free("--record", "preflight.golden", golden, overwrite)
        config = _without(config, "golden")
    sample = None
    if canaries_from is not None:
        if record:
            raise ConfigError("--canaries-from: read the canaries before you use --record")
        if canaries is None:
            raise ConfigError(
                "--canaries-from: set preflight.canaries=FILE, the file for the canaries"
            )
        golden_scores.check_free("--canaries-from", "preflight.canaries", canaries, overwrite)
        config = _without(config, "canaries")
        sample = sample_queries(_reading(config, canaries_from), QUERIES, PASSAGES)
    refused = None
    try:
        # Torch counts the machine's cores; a container may use fewer.
        with torch_threads(min(torch.get_num_threads(), usable_cores())):
            scorer = load_scorer(config)
            report = scorer.report
            found = make_canaries(scorer, sample) if sample is not None else []
    except PreflightRefused as error:
        report, refused = Report.from_dict(error.report), error
    digest = open_checkpoint(config.model).digest
    print_report(report, config.preflight, digest, console, verbose)
    if report_path:
        write_json(report_path, {"digest": digest, **report.as_dict()})
    if refused is not None:
        raise PreflightRefused(
            f"{verdict(report, config.preflight)}. The report on standard output has the measured "
            "and expected values, and the remedies",
            refused.report,
        )
    if found and canaries is not None:
        write_canaries(found, canaries)
        console.print(
            f"wrote {len(found)} canaries to {canaries}. Read them, delete those whose relevant "
            "passage does not answer the query, then record golden scores with --record",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if record and golden is not None:
        number = golden_scores.record(report, golden)
        told = f"recorded {number} scores to {golden}"
        console.print(told, highlight=False, markup=False, soft_wrap=True)


def _without(config: Config, key: str) -> Config:
    """The same, with a key of `preflight` unset."""
    section = config.preflight.model_copy(update={key: None})
    return config.model_copy(update={"preflight": section})


def _reading(config: Config, path: str) -> Config:
    """The same, with another `input.path`."""
    return config.model_copy(update={"input": config.input.model_copy(update={"path": path})})
