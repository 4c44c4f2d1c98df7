"""`batch-reranker export`."""

from __future__ import annotations

from rich.console import Console

from reranker_core.command.subcommand import subcommand
from reranker_core.config import Config
from reranker_core.errors.redaction import without_credentials


@subcommand(
    "export",
    heeds=("input", "output", "plan", "training", "model.cutoff_layer"),
    repeats=True,
)
def export(config: Config, console: Console) -> None:
    """Write the scores of a complete output as training data for FlagEmbedding.

    Needs the configuration of the run: --like OUTPUT takes it from the output. Writes JSON Lines to
    _training/ in the output folder.
    """
    # Late, so that --help and a wrong configuration answer at once.
    from reranker_core.output.training import TRAINING, write_training_data

    written = write_training_data(config)
    folder = f"{without_credentials(config.output.path)}/{TRAINING}/"
    console.print(
        f"{written.queries:,} queries with {written.pairs:,} pairs in {folder}; left out: "
        f"{written.without_positive:,} queries without a positive, {written.without_negative:,} "
        f"without a negative, {written.unscored:,} pairs without a score"
        + (f"; {written.unlabelled:,} pairs have no label" if written.unlabelled else "")
    )
