"""Rows that a stray quote made into one field of a CSV or TSV file.

A quote at the start of a field that was meant as a character opens a quoted field. It ends at the
next quote that stands before a delimiter, perhaps many rows later. The rows between are then lines
of one field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reranker_core.errors import InputError
from reranker_core.storage.database import named, quoted, row_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BREAK = "\r\n|\r|\n"
_FETCHED = 1000  # rows at a time
_ENOUGH = 20  # rows that tell which values a column has


@dataclass(frozen=True)
class _Column:
    """What is true of all values of a column in rows of one line."""

    indented: bool  # some begin with a blank
    spaced: bool  # some contain a blank
    empty: bool  # some are empty

    def allows(self, value: str) -> bool:
        """Whether `value` looks like a value of this column."""
        if not value.strip():
            return self.empty
        return (self.indented or not value[0].isspace()) and (
            self.spaced or not re.search(r"\s", value.strip())
        )


def refuse_swallowed_rows(
    connection: DuckDBPyConnection, path: str, relation: str, delimiter: str, header: bool
) -> None:
    """Raise InputError if a field contains the end of a row, whole rows, and the start of a row.

    Texts of several lines may contain delimiters too. So each line must also look like a row: no
    blanks where other rows have none.

    Args:
        connection: the database.
        path: the file, for the message.
        relation: all its rows, also that of the names, with text columns.
        delimiter: what separates fields.
        header: whether the first row contains names.

    """
    names = [named(name) for name in connection.sql(f"SELECT * FROM {relation}").columns]
    width = len(names)
    if width == 1:
        return
    fields = ", ".join(f"coalesce({name}, '')" for name in names)
    rows = f"SELECT row_number() OVER () AS row, [{fields}] AS fields FROM {relation}"
    broken = f"regexp_matches(array_to_string(fields, ''), '{_BREAK}')"
    signs = f"length(x) - length(replace(x, {quoted(delimiter)}, ''))"
    lines = f"regexp_split_to_array(fields[place], '{_BREAK}')"
    connection.execute(
        f"""
        SELECT row, fields, place, lines FROM (
            SELECT *, list_transform(lines, lambda x: {signs}) AS signs FROM (
                SELECT *, {lines} AS lines FROM (
                    SELECT *, unnest(range(1, {width + 1})) AS place FROM ({rows}) WHERE {broken}
                )
            )
        )
        WHERE len(lines) > 1 AND signs[1] = {width} - place AND signs[-1] = place - 1
        AND len(list_filter(lines[2:-2], lambda x: x <> '' AND {signs} <> {width - 1})) = 0
        """
    )
    while found := connection.fetchmany(_FETCHED):
        columns = _columns(connection.cursor(), rows, broken, width, header)
        for row, values, place, parts in found:
            begin, *whole, end = (part.split(delimiter) for part in parts)
            whole = [line for line in whole if line != [""]]
            each = [[*values[: place - 1], *begin], *whole, [*end, *values[place:]]]
            if all(
                column.allows(value)
                for line in each
                for column, value in zip(columns, line, strict=True)
            ):
                raise InputError(
                    f"{path}: row {row} contains {len(each)} lines that are rows themselves: a "
                    "quote at the start of a field ends in another line. Write each quote in a "
                    'quoted field twice (""), or remove the quotes around fields. If these lines '
                    "are one text, write the rows as JSON Lines, which convert reads too"
                )


def _columns(
    connection: DuckDBPyConnection, rows: str, broken: str, width: int, header: bool
) -> list[_Column]:
    asked = ", ".join(
        f"coalesce(bool_or({condition}), false)"
        for place in range(1, width + 1)
        for condition in (
            f"regexp_matches(fields[{place}], '^\\s')",
            f"regexp_matches(trim(fields[{place}]), '\\s')",
            f"trim(fields[{place}]) = ''",
        )
    )
    count, *found = row_of(
        connection,
        f"SELECT count(*), {asked} FROM ({rows}) WHERE NOT {broken} AND row > {int(header)}",
    )
    few = count < _ENOUGH
    columns = (found[3 * place : 3 * place + 3] for place in range(width))
    return [_Column(indented, few or spaced, few or empty) for indented, spaced, empty in columns]
