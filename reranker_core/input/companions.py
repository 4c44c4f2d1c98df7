"""Lists beside the passages that the configuration names: labels and scores of the first stage.

Each must have one value per candidate of its own row. The footers show most other lists before the
run, and each part is checked when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from reranker_core.config import Config
from reranker_core.errors import InputError, count
from reranker_core.input.footers import Footer, leaves
from reranker_core.input.pairs import column_of
from reranker_core.input.schema import InputSchema
from reranker_core.input.shards import open_shard
from reranker_core.input.types.common_type import is_list
from reranker_core.input.types.conversion import Int64s, is_valid, list_lengths

_LOOKED_AT = 4  # row groups whose numbers of values differ; null lists make them differ, too


def check_companions(
    table: pa.Table, schema: InputSchema, config: Config, place: tuple[str, int]
) -> None:
    """Check the lists of a part.

    Args:
        table: rows of a shard.
        schema: the columns of the run.
        config: which lists have a value per candidate.
        place: shard and number of the table's first row, for messages.

    Raises:
        InputError: a list is longer or shorter than its row's candidates; shard and row are named.

    """
    names = [name for name in companions(schema, config) if name in table.column_names]
    if not names:
        return
    passages, ids = (
        list_lengths(column_of(table, field.column)) for field in (schema.passage, schema.doc_id)
    )
    for name in names:
        lists = column_of(table, name)
        if is_list(lists.type):
            # Rows whose ids do not fit the passages have a status that says so.
            refuse_misfits(lists, name, np.where(passages == ids, passages, -1), place)


def check_row_groups(
    urls: Sequence[str], footers: Sequence[Footer], schema: InputSchema, config: Config
) -> None:
    """Look for such lists by the numbers of values in the footers. Raises as `check_companions`."""
    for name in companions(schema, config):
        wanted = [name, *dict.fromkeys((schema.doc_id.column, schema.passage.column))]
        for url, group, first in _suspects(urls, footers, name, schema):
            with open_shard(url) as file:
                table = file.read_row_group(group, columns=wanted)
            check_companions(table, schema, config, (url, first))


def companions(schema: InputSchema, config: Config) -> list[str]:
    """The list columns of nested input that must have one value per candidate, besides those of the
    passages and the ids.
    """
    if not schema.nested:
        return []
    given = (config.report.first_stage, config.report.label, config.training.positive_column)
    own = (schema.passage.column, schema.doc_id.column)
    columns = (str(name) if name in schema.columns else str(name).partition(".")[0]
               for name in given if name is not None)  # fmt: skip
    return [name for name in dict.fromkeys(columns) if name in schema.columns and name not in own]


def refuse_misfits(lists: pa.Array, name: str, per_row: Int64s, place: tuple[str, int]) -> None:
    """Raise InputError if a list is neither null nor as long as its row has candidates.

    Args:
        lists: a list per row.
        name: their column.
        per_row: candidates of each row; -1 for rows that are not checked.
        place: shard and number of the first row.

    """
    lengths = list_lengths(lists)
    wrong = np.flatnonzero(is_valid(lists) & (lengths != per_row) & (per_row >= 0))
    if len(wrong):
        row = int(wrong[0])
        shard, first = place
        last = first + len(lists) - 1
        raise InputError(
            f"{shard}: row {first + row}: column '{name}' has {count(lengths[row], 'value')}, but "
            f"the row has {count(per_row[row], 'candidate')}. Rows {first} to {last} have "
            f"{count(len(wrong), 'such row')}. Write one value per candidate, or null instead "
            "of the list for a query without values"
        )


def _suspects(
    urls: Sequence[str], footers: Sequence[Footer], name: str, schema: InputSchema
) -> Iterator[tuple[str, int, int]]:
    """Shard, row group and its first row, where the numbers of values differ."""
    found = 0
    for url, footer in zip(urls, footers, strict=True):
        there = leaves(footer.metadata.schema, [name, schema.passage.column])
        first = 0
        for index in range(footer.metadata.num_row_groups):
            group = footer.metadata.row_group(index)
            values = {column: group.column(at).num_values for at, column in there.items()}
            if len(values) == 2 and len(set(values.values())) == 2:
                yield url, index, first
                found += 1
                if found == _LOOKED_AT:
                    return
            first += group.num_rows
