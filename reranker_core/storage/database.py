"""The database that reads, joins and sorts: DuckDB, which spills to disk what does not fit."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from reranker_core.errors import InputError, RerankError
from reranker_core.storage.filesystem import is_local, open_filesystem
from reranker_core.storage.store import Store
from reranker_core.storage.tree import is_file

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from fsspec import AbstractFileSystem

_MEMORY = "2GB"
_THREADS = 2  # each needs some 500 MB to join and sort
_SHOWN = 5
_FILE = re.compile(r'file "([^"]+)"|^\s*file = (.+)$|GZIP stream: (.+)$', re.MULTILINE)
_LINE = re.compile(r"\b(?:[Ll]ine:?|record/value) (\d+)")
_QUOTES = 'Write a field with quotes or separators in quotes, and each quote in it twice ("")'
_LINES = "Correct the line, or remove it"
# Errors of DuckDB, in its words, and what to do.
_CAUSES = tuple(
    (re.compile(pattern), remedy)
    for pattern, remedy in (
        (r"[Tt]his file is not utf-8 encoded", "Convert the file to UTF-8, for example with iconv"),
        (
            r"Expected Number of Columns: \d+ Found: \d+",
            f"Each row needs a field for each name in the first line. {_QUOTES}",
        ),
        (r"Value with unterminated quote found", _QUOTES),
        (r"Maximum line size of \d+ bytes exceeded", "Shorten or remove the line"),
        (r"UTF-(?:16|32) encoding is not supported", "Convert the file to UTF-8"),
        (r"Unexpected end of GZIP stream", "The file was cut off: copy or write it again"),
        (r"Input is not a GZIP stream", "Rename the file without .gz, or compress it"),
        (r"duplicate key", _LINES),
        (r"Malformed JSON .*(?:line|record/value) \d+: ([a-z][\w -]+)", _LINES),
    )
)
_NO_TABLE = (
    "the rows have different numbers of fields, a quote does not end, or the text is not UTF-8"
)


@contextmanager
def database(command: str, error: type[RerankError] = InputError) -> Iterator[DuckDBPyConnection]:
    """A database with a folder to spill to, for a subcommand.

    Raises:
        InputError: a file cannot be read, in the words of DuckDB without the content of the file;
            or another `error`.

    """
    import duckdb  # late: it is large, and few subcommands need it

    with tempfile.TemporaryDirectory() as folder, duckdb.connect(f"{folder}/data.db") as connection:
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute(f"SET temp_directory = {quoted(folder)}")
        connection.execute(f"SET threads = {min(_THREADS, os.cpu_count() or 1)}")
        connection.execute("SET enable_progress_bar = false")
        try:
            yield connection
        except (duckdb.Error, pa.ArrowException, OSError) as failure:
            # Arrow makes an OSError of what DuckDB raises while its rows are taken.
            raise error(f"{command}: {_told(str(failure))}") from None


def _told(text: str) -> str:
    """An error of DuckDB without the content of files, which it quotes."""
    file, line = _FILE.search(text), _LINE.search(text)
    cause, remedy = next(
        (
            (found[found.lastindex or 0], remedy)
            for each, remedy in _CAUSES
            if (found := each.search(text))
        ),
        ("", ""),
    )
    if file is not None and (cause or "sniffing" in text):
        where = file[1] or file[2] or file[3]
        if line is not None:
            # DuckDB counts the lines of malformed JSON from 2.
            where += f", line {int(line[1]) - ('Malformed JSON' in text)}"
        return f"{where}: cannot be read: {cause or _NO_TABLE}. {remedy or _QUOTES}"
    return text.partition("\n")[0].partition(" Line: ")[0].partition(": Object ")[0]


def source(connection: DuckDBPyConnection, path: str) -> str:
    """A file as DuckDB names it, quoted; other stores are opened as all files of the job are.

    Raises:
        InputError: it does not exist.

    """
    filesystem, inner = open_filesystem(path)
    if not is_file(filesystem, inner):
        raise InputError(f"{path}: this file does not exist ({inner})")
    if is_local(filesystem):
        return quoted(_literal(inner))
    _register(connection, filesystem)
    return quoted(path)


def glob_in(connection: DuckDBPyConnection, store: Store) -> str:
    """All Parquet files of an output as DuckDB names them, quoted."""
    if is_local(store.filesystem):
        return quoted(f"{_literal(store.root)}/*.parquet")
    _register(connection, store.filesystem)
    return quoted(f"{store.url}/*.parquet")


def _register(connection: DuckDBPyConnection, filesystem: AbstractFileSystem) -> None:
    protocols = filesystem.protocol
    names = {protocols} if isinstance(protocols, str) else set(protocols)
    if not names & set(connection.list_filesystems()):
        connection.register_filesystem(filesystem)


def row_of(connection: DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The first row of a result; empty if there is none."""
    rows = connection.execute(query).fetchall()
    return tuple(rows[0]) if rows else ()


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def named(name: str) -> str:
    """A name of a column in SQL."""
    return '"' + name.replace('"', '""') + '"'


def sample(connection: DuckDBPyConnection, query: str) -> tuple[int, str]:
    """How many rows a query has, and a few values of its only column, for a message."""
    (count,) = row_of(connection, f"SELECT count(*) FROM ({query})")
    if not count:
        return 0, ""
    rows = connection.execute(f"SELECT * FROM ({query}) ORDER BY 1 LIMIT {_SHOWN}").fetchall()
    return count, ", ".join(repr(row[0]) for row in rows) + (", …" if count > _SHOWN else "")


def _literal(path: str) -> str:
    """A path without glob signs: DuckDB takes a class of one sign for the sign itself."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in path)
