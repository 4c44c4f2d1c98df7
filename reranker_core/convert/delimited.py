"""CSV and TSV files as relations of DuckDB whose columns are text.

Nothing about a file is guessed by DuckDB: its separator is in its name or first line, no line is a
comment, and whether quotes of a TSV file enclose fields depends on all its lines.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reranker_core.convert.swallowed import refuse_swallowed_rows
from reranker_core.errors import InputError
from reranker_core.storage.database import quoted, row_of, source

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LARGEST_LINE = 32 * 2**20  # bytes
_DELIMITERS = (",", ";", "\t", "|")
_HEAD_LINES = 100
# A line whose fields are quoted as a whole or not at all; in quotes, a quote stands twice.
_FIELD = r'("([^"\t]|"")*"|[^"\t][^\t]*)?'
_WELL = rf"{_FIELD}(\t{_FIELD})*"
_FIRST = r'(^|\t)"'
_DOUBLED = r'(^|\t)"([^"\t]|"")*""([^"\t]|"")*"(\t|$)'


@dataclass(frozen=True)
class Delimited:
    """A CSV or TSV file.

    Attributes:
        path: the file.
        relation: what SQL reads it with; each column is text, and null where a field is empty.
        names: the columns.

    """

    path: str
    relation: str
    names: tuple[str, ...]


def lines_of(file: str) -> str:
    """The lines of a text file as a relation with the column `line`, null for an empty one."""
    return (
        f"read_csv({file}, header = false, columns = {{'line': 'VARCHAR'}}, delim = '', "
        "quote = '', escape = '', comment = '', auto_detect = false, strict_mode = false, "
        f"max_line_size = {_LARGEST_LINE})"
    )


def open_delimited(
    connection: DuckDBPyConnection,
    path: str,
    delimiter: str,
    headings: Sequence[str] | None = None,
) -> Delimited | None:
    """Open a file; None if it is empty.

    Args:
        connection: the database.
        path: the file.
        delimiter: the one of its name. If the first line does not have it, another one counts.
        headings: names of which the first line has one if it is a heading; else the columns are
            `id` and `text`. None: the first line is a heading.

    Raises:
        InputError: two columns have one name, or lines would be lost in a quoted field.

    """
    import duckdb  # late: it is large

    file = source(connection, path)
    blank, first = _first_line(connection, file)
    if not first:
        return None
    used = [each for each in _DELIMITERS if each in first]
    if len(first) == 5 and first.lower().startswith("sep="):  # Excel names the sign
        delimiter, blank = first[4], blank + 1
    elif delimiter not in first and used and headings is None:
        delimiter = used[0]  # spreadsheets of many countries write semicolons
    header = headings is None or bool(
        {field.strip('"') for field in first.split(delimiter)} & set(headings)
    )
    quote = _quote_of(connection, file, blank, header) if delimiter == "\t" else '"'

    def relation(header: bool, more: str = "") -> str:
        return (
            f"read_csv({file}, header = {header}, skip = {blank}, all_varchar = true, "
            f"delim = {quoted(delimiter)}, quote = {quoted(quote)}, escape = {quoted(quote)}, "
            f"comment = '', strict_mode = true, max_line_size = {_LARGEST_LINE}{more})"
        )

    try:
        row = row_of(connection, f"SELECT * FROM {relation(False)} LIMIT 1")
    except duckdb.Error:  # it says which line only where it need not find the columns
        csv.field_size_limit(_LARGEST_LINE)
        fields = next(csv.reader([first], delimiter=delimiter, quotechar=quote or None))
        columns = {str(place): "VARCHAR" for place in range(len(fields))}
        again = relation(False, f", auto_detect = false, columns = {columns}")
        row_of(connection, f"SELECT count(*) FROM {again}")
        raise
    if not header and len(row) != 2:
        raise InputError(
            f"{path}: has no heading and {len(row)} columns; expected an id and a text. Add a "
            "first line with names, such as id and text"
        )
    opened = relation(header, "" if header else ", names = ['id', 'text']")
    if header:
        refuse_one_name(path, [name for name in row if name])
    names = connection.sql(f"SELECT * FROM {opened}").columns
    if quote:
        refuse_swallowed_rows(connection, path, relation(False), delimiter, header)
    return Delimited(path, opened, tuple(names))


def refuse_one_name(path: str, names: Sequence[str]) -> None:
    """Raise InputError if two names are equal or differ only in case."""
    folded: dict[str, str] = {}
    for name in names:
        if name.casefold() in folded:
            raise InputError(
                f"{path}: the names of two columns, '{folded[name.casefold()]}' and '{name}', are "
                "equal or differ only in case. Readers that ignore case cannot tell them apart. "
                "Rename one of them"
            )
        folded[name.casefold()] = name


def _first_line(connection: DuckDBPyConnection, file: str) -> tuple[int, str]:
    """The number of blank lines before the first line with text, and this line."""
    lines = connection.execute(f"FROM {lines_of(file)} LIMIT {_HEAD_LINES}").fetchall()
    for number, (line,) in enumerate(lines):
        if line and line.strip():
            return number, str(line).strip("\r\n ")
    return 0, ""


def _quote_of(connection: DuckDBPyConnection, file: str, blank: int, header: bool) -> str:
    """The quote that encloses fields of a TSV file; empty if quotes are part of the texts.

    Spreadsheets and pandas enclose fields that hold a quote, a tab or a line break, and write a
    quote in them twice. Collections of information retrieval have no such rule.
    """
    even, well, doubled, first = row_of(
        connection,
        f"SELECT count(DISTINCT tabs) = 1, bool_and(regexp_full_match(line, {quoted(_WELL)})), "
        f"bool_or(regexp_matches(line, {quoted(_DOUBLED)})), "
        f"bool_or(regexp_matches(line, {quoted(_FIRST)})) FROM ({_rows(file, blank)})",
    )
    if not first:
        return ""
    if even:  # each line is a row
        return '"' if well and (header or doubled) else ""
    return '"'


def _rows(file: str, blank: int) -> str:
    """The lines with text, from the first one, and their numbers of tabs."""
    return (
        f"SELECT line, length(line) - length(replace(line, E'\\t', '')) AS tabs "
        f"FROM (SELECT rtrim(line, E'\\r') AS line FROM {lines_of(file)} OFFSET {blank}) "
        "WHERE line <> ''"
    )
