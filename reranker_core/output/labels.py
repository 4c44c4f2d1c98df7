"""The positive pairs of a scored output, by label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reranker_core.config import TrainingConfig
from reranker_core.errors import ConfigError, InputError
from reranker_core.input.companions import refuse_misfits
from reranker_core.input.pairs import column_of, list_values
from reranker_core.input.schema import Field, InputSchema, cut_at_dots
from reranker_core.input.types.common_type import is_list
from reranker_core.input.types.conversion import is_valid, list_lengths
from reranker_core.input.types.ids import comparable

Bools = npt.NDArray[np.bool_]


def field_of(name: str, columns: Sequence[str]) -> Field:
    """The position of `name`: a column, or with a dot a field of the structs in a list.

    Raises:
        ConfigError: there is no such column.

    """
    if name in columns:
        return Field(name)
    cuts = cut_at_dots(name, columns)
    if not cuts:
        raise ConfigError(
            f"column '{name}' is not in the output, which has {', '.join(columns)}. "
            "output.passthrough chooses the input columns that are copied"
        )
    return Field(*cuts[0])


def values_of(table: pa.Table, name: str, schema: InputSchema) -> pa.Array:
    """A column's value for each pair, shape (P,); for columns that the job adds."""
    field = field_of(name, table.column_names)
    values = column_of(table, field.column)
    return list_values(values, field) if schema.nested else values


def labels_of(
    table: pa.Table, schema: InputSchema, rule: TrainingConfig, score: str, place: tuple[str, int]
) -> tuple[Bools, Bools]:
    """Which pairs have a label, and which of them are positives, both of shape (P,).

    Args:
        table: rows of a scored output.
        schema: of its input.
        rule: `training.positive_column` and its name.
        score: the column of the scores, which has a value for each pair.
        place: shard and row of the table's first row, for messages.

    Raises:
        InputError: a row has different numbers of labels and candidates, or labels are not numbers.
        ConfigError: the column does not exist, or is not a list in nested output.

    """
    name = str(rule.positive_column)
    field = field_of(name, table.column_names)
    labels = column_of(table, field.column)
    if schema.nested:
        labels = _aligned(labels, field, list_lengths(column_of(table, score)), place)
    try:
        values = comparable(labels).cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(
            f"training.positive_column={name}: has the type {labels.type}; expected numbers "
            "or booleans, where a value above 0 marks a positive"
        ) from None
    return is_valid(values), np.asarray(values.fill_null(0).to_numpy(zero_copy_only=False) > 0)


def _aligned(
    lists: pa.Array, field: Field, per_row: npt.NDArray[np.int64], place: tuple[str, int]
) -> pa.Array:
    """The values of lists that have one for each candidate; nulls where a list is null."""
    if not is_list(lists.type):
        raise ConfigError(
            f"training.positive_column={field}: has the type {lists.type}; expected a list with "
            "one label per candidate, because each row is a query with candidates"
        )
    refuse_misfits(lists, str(field), per_row, place)
    valid = is_valid(lists)
    values = list_values(lists, field)
    there = np.repeat(valid, per_row)
    take = np.full(len(there), -1, np.int64)
    take[there] = np.arange(len(values))
    return values.take(pa.array(take, mask=take < 0))
