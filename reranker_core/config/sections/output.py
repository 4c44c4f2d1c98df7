"""Keys of the output."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reranker_core.config.sections.section import Section, Text


class OutputColumns(Section):
    """Names of the columns that the job adds."""

    score: Text = Field("score", description="Column for the raw score of the model.")
    normalized: Text = Field(
        "score_normalized", description="Column for the normalized score (`output.normalize`)."
    )
    rank: Text = Field("rank", description="Column for the rank within the query (`output.rank`).")
    label: Text = Field("label", description="Column for the label (`output.label_thresholds`).")
    tokens_lost: Text = Field(
        "tokens_lost", description="Column for the number of tokens that were cut."
    )
    chunks: Text = Field("chunks", description="Column for the number of chunks of the passage.")
    status: Text = Field(
        "status", description="Column that says whether the pair was scored, and if not, why."
    )

    def of_layer(self, layer: int) -> str:
        """The column for the score of a cutoff layer other than the last one."""
        return f"{self.score}_layer_{layer}"


class OutputConfig(Section):
    """Where the scored rows go, and which columns they have."""

    path: Text = Field(description="Folder for the results; a local path or a URL.")
    normalize: Literal["none", "sigmoid"] = Field(
        "none", description="`sigmoid` adds a column with the sigmoid of the raw score."
    )
    rank: bool = Field(
        False, description="Add a column with the rank of the pair within its query, from 1."
    )
    label_thresholds: list[float] = Field(
        [],
        description="Add a column with the number of these thresholds that the raw score reaches.",
    )
    tokens_lost: bool = Field(
        False,
        description="Add a column with the number of tokens that were cut from query and passage.",
    )
    chunks: bool = Field(
        False, description="Add a column with the number of chunks in which the passage was scored."
    )
    text: bool = Field(False, description="Copy the query and passage columns to the output.")
    passthrough: Literal["all"] | list[Text] = Field(
        "all", description="Other input columns to copy to the output."
    )
    columns: OutputColumns = OutputColumns()


class TrainingConfig(Section):
    """Which training data `batch-reranker export` writes."""

    positive_column: Text | None = Field(
        None,
        description="Column copied from the input that marks positive pairs: a value above 0.",
    )
    positive_score: float | None = Field(
        None,
        description="Raw score at or above which a pair is positive, if no column marks positives.",
    )
    scores: Literal["raw", "normalized"] = Field("raw", description="Scores to write.")
