"""Teacher scores for FlagEmbedding: python -m jobs.training_data --config FILE [section.key=value]

Reads the complete output of jobs.rerank, run with the same configuration, and writes JSON lines
beside it, to `_training/`.
"""

from __future__ import annotations

import sys

from jobs.cli import Arguments, main
from reranker_core.config import Config


def training_data(config: Config, arguments: Arguments) -> None:
    """Write the lines, and say how many queries had none."""
    # Late, so that --help and a wrong configuration answer at once.
    from reranker_core.output.training import TRAINING, write_training_data

    written = write_training_data(config)
    arguments.console.print(
        f"{written.queries:,} queries with {written.pairs:,} pairs in {TRAINING}/; left out: "
        f"{written.without_positive:,} queries without a positive, {written.without_negative:,} "
        f"without a negative, {written.unscored:,} pairs without a score"
    )


if __name__ == "__main__":
    sys.exit(main(training_data, __doc__))
