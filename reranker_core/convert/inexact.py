"""Numbers of JSON that a double would change: long whole numbers, and numbers out of its range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Path = tuple[str, ...]  # of a column or member; lists and maps add no step but `[]`, `key`, `value`

_LONG = "^-?[0-9]{16,}$"  # a whole number that a double may not hold exactly


def inexact_paths(batch: pa.RecordBatch) -> set[Path]:
    """The columns and members with such a number.

    Args:
        batch: columns in which texts stand for numbers.

    """
    return {
        path
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
        for path, texts in _leaves(column, (name,))
        if _is_inexact(texts)
    }


def _leaves(array: pa.Array, path: Path) -> Iterator[tuple[Path, pa.Array]]:
    kind = array.type
    if pa.types.is_map(kind):
        yield from _leaves(array.items, (*path, "value"))
    elif pa.types.is_list(kind):
        yield from _leaves(array.flatten(), (*path, "[]"))
    elif pa.types.is_struct(kind):
        for index, field in enumerate(kind):
            yield from _leaves(array.field(index), (*path, field.name))
    elif pa.types.is_string(kind):
        yield path, array


def _is_inexact(texts: pa.Array) -> bool:
    def some(mask: Any) -> bool:
        return bool(pc.any(mask).as_py())

    if some(pc.match_substring_regex(texts, _LONG)):
        return True
    numbers = texts.filter(pc.match_substring_regex(texts, "^[-+]?[0-9]"))  # also without Infinity
    return some(pc.is_inf(numbers.cast(pa.float64())))
