"""Score query-passage shards: python -m jobs.rerank --config FILE [section.field=value ...]"""

from __future__ import annotations

import argparse
import sys
import time

from jobs.cli import Arguments, main
from reranker_core.config import Config


def rerank(config: Config, arguments: Arguments) -> None:
    """Prepare, and unless it is a dry run, score."""
    # Late, so that --help and a wrong configuration answer at once.
    from reranker_core.prepare import prepare
    from reranker_core.report.summary import print_plan, print_totals

    start = time.monotonic()
    prepared = prepare(config)
    if arguments.options.dry_run:
        print_plan(prepared, arguments.console)
        return
    from reranker_core.pipeline.run import run

    totals = run(prepared)
    print_totals(totals, prepared, time.monotonic() - start, arguments.console)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this job."""
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan and what a resume would skip; no Ray"
    )


if __name__ == "__main__":
    sys.exit(main(rerank, __doc__, add_options))
