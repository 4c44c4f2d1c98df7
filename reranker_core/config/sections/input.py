"""Keys of the input."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reranker_core.config.sections.section import Section, Text


class InputColumns(Section):
    """Names of the input columns. `candidates.passage` means field `passage` of the structs in
    the list column `candidates`.
    """

    query_id: Text = Field("query_id", description="Column with the id of the query.")
    query: Text = Field("query", description="Column with the text of the query.")
    doc_id: Text = Field("doc_id", description="Column with the id of the passage.")
    passage: Text = Field("passage", description="Column with the text of the passage.")
    instruction: Text | None = Field(
        None,
        description="Column with an instruction for each row; a row where it is null uses the "
        "configured instruction.",
    )


class InputConfig(Section):
    """Where the pairs are."""

    path: Text | list[Text] = Field(
        description="Parquet file, folder or glob pattern, or a list of them; local paths or URLs."
    )
    columns: InputColumns = InputColumns()
    format: Literal["auto", "parquet", "delta", "iceberg"] = Field(
        "auto",
        description="`parquet`: files; `delta`, `iceberg`: the folder of a table; `auto`: detect "
        "it from the content.",
    )
    snapshot: int | None = Field(
        None,
        description="Version of a Delta table, or id of a snapshot of an Iceberg table; `null`: "
        "the newest one.",
    )
    layout: Literal["auto", "flat", "nested"] = Field(
        "auto",
        description="`flat`: one row is one pair; `nested`: one row is one query with lists of "
        "candidates; `auto`: detect it from the type of the passage column.",
    )
    changed: Literal["refuse", "rescore"] = Field(
        "refuse",
        description="If input files have changed since the output was started, `refuse` stops "
        "with exit code 6, and `rescore` scores the changed files again and removes their old "
        "results.",
    )
