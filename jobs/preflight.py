"""Check a reranker: python -m jobs.preflight --config FILE [section.field=value ...]

Runs every check of a replica here, in this process, prints what was measured, and writes it as
JSON. `input` and `output` need not be configured.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from jobs.cli import Arguments, main
from reranker_core.config import Config


def preflight(config: Config, arguments: Arguments) -> None:
    """Load and check the model; print the report, write it, and record golden scores on request."""
    # Late, so that --help and a wrong configuration answer at once.
    from reranker_core.checks import Report
    from reranker_core.errors import ConfigError, PreflightRefused
    from reranker_core.models.checkpoint import open_checkpoint
    from reranker_core.preflight.golden import record
    from reranker_core.report.summary import print_report
    from reranker_core.score.scorer import Scorer

    options, golden = arguments.options, config.preflight.golden
    if options.record:
        if golden is None:
            raise ConfigError("--record: set preflight.golden=FILE, where the scores are to go")
        section = config.preflight.model_copy(update={"golden": None})
        config = config.model_copy(update={"preflight": section})
    refused = None
    try:
        report = Scorer.load(config).report
    except PreflightRefused as error:
        report, refused = Report.from_dict(error.report), error
    digest = open_checkpoint(config.model).digest
    print_report(report, config.preflight.checks, digest, arguments.console)
    if options.json:
        content = {"digest": digest, **report.as_dict()}
        Path(options.json).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if refused is not None:
        raise refused
    if options.record and golden is not None:
        record(report, golden)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this job."""
    parser.add_argument("--json", metavar="FILE", help="where to write the report as JSON")
    parser.add_argument(
        "--record",
        action="store_true",
        help="write the canary scores to preflight.golden, for later runs to be held against",
    )


if __name__ == "__main__":
    unused = {"input.path": "unused", "output.path": "unused"}
    sys.exit(main(preflight, __doc__, add_options, unused))
