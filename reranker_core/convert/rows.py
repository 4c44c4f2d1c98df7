"""Rows that are pairs, or queries with lists of candidates, in JSON lines, CSV, TSV, Arrow or ORC.

Columns keep their names. Texts stay as they are: nothing that looks like a date becomes one, and a
column becomes a number only if no digit is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as dataset

from reranker_core.errors import ConfigError, InputError, brief
from reranker_core.input.kinds import (
    ARROW_FILE,
    ARROW_STREAM,
    CSV,
    JSON,
    JSON_LINES,
    ORC,
    TSV,
    by_name,
    content_of,
)
from reranker_core.input.listing import is_parquet
from reranker_core.input.tables.marker import table_of
from reranker_core.input.tables.snapshot import read_rows
from reranker_core.storage.database import named, quoted, row_of, source
from reranker_core.storage.filesystem import open_filesystem
from reranker_core.storage.tree import children, item_at

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BATCH_ROWS = 2048
_LARGEST_LINE = 32 * 2**20  # bytes; DuckDB holds two such buffers a thread
_GUESSED = ("date", "time", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "uuid",
            "timestamp with time zone", "time with time zone", "interval", "blob", "time_ns",
            "hugeint", "uhugeint")  # fmt: skip
_DELIMITERS = (",", ";", "\t", "|")
_TEXTS = ("query_id", "query", "doc_id", "passage")
_IDS = ("query_id", "doc_id")
_WHOLE = "-?(0|[1-9][0-9]{0,17})"
_LONG = "-?[0-9]{16,}"  # a whole number that a double may not hold exactly
_REAL = "-?(0|[1-9][0-9]{0,14}|(0|[1-9][0-9]*)([.][0-9]+([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+))"
_HEAD = (
    "SELECT * FROM read_csv({file}, header = false, columns = {{'line': 'VARCHAR'}}, "
    "delim = E'\\x01', quote = '', escape = '', auto_detect = false, null_padding = true, "
    "max_line_size = 33554432) LIMIT 100"
)


def rows_of(
    connection: DuckDBPyConnection, path: str, snapshot: int | None = None
) -> pa.RecordBatchReader:
    """The rows of a file, in their order, or those of a Delta or Iceberg table.

    Args:
        connection: the database.
        path: by its suffix: .jsonl (.ndjson, .json), .csv, .tsv, each also with .gz or .zst;
            .arrow, .feather, .ipc, .arrows, .orc. JSON, Arrow and ORC are known by their content,
            too. The folder of a table is known by its marker.
        snapshot: version of a Delta table, or id of the snapshot of an Iceberg table; None: the
            newest.

    Raises:
        InputError: it cannot be read.

    """
    filesystem, inner = open_filesystem(path)
    item = item_at(filesystem, inner)
    if item is None:
        raise InputError(f"{path}: this file does not exist")
    table = None
    if item.kind == "folder":
        table = table_of(filesystem, item.path, children(filesystem, item))
    if table is not None:
        return read_rows(table, path, snapshot)
    if item.kind == "folder":
        raise InputError(
            f"{path}: is a folder, and not a Delta or Iceberg table. Name its files: "
            f"{path.rstrip('/')}/*.jsonl"
        )
    if snapshot is not None:
        raise ConfigError(f"--snapshot {snapshot}: {path} is not a Delta or Iceberg table")
    name = path.lower()
    for suffix in (".gz", ".zst"):
        name = name.removesuffix(suffix)
    kind = by_name(name) or content_of(path)
    if kind in (JSON_LINES, JSON):
        return _json(connection, path)
    if kind in (CSV, TSV):
        return _text(connection, path, "\t" if kind == TSV else ",")
    if kind in (ARROW_FILE, ARROW_STREAM, ORC):
        return _arrow(path, "orc" if kind == ORC else "feather")
    if is_parquet(path):
        raise InputError(f"{path}: is Parquet already. Read it with input.path={path}")
    raise InputError(
        f"{path}: unknown file type; expected .jsonl, .csv, .tsv (also with .gz), .arrow, "
        ".feather or .orc. For a run, use --run"
    )


def _json(connection: DuckDBPyConnection, path: str) -> pa.RecordBatchReader:
    file, size = source(connection, path), f"maximum_object_size = {_LARGEST_LINE}"

    def read(more: str) -> str:
        return f"SELECT * FROM read_json({file}, {size}, {more})"

    found = connection.sql(read("sample_size = -1"))
    if found.columns == ["json"]:  # a single map: many keys, all with values of one type
        found = connection.sql(read("sample_size = -1, map_inference_threshold = -1"))
    if found.columns == ["json"]:
        raise InputError(f"{path}: expected a JSON object with named values per row")
    _refuse_case_twins(connection, path, f"read_json_objects({file}, {size})", found.columns)
    kinds = {
        name: _plain(kind, name) for name, kind in zip(found.columns, found.types, strict=True)
    }
    reals = [name for name, kind in kinds.items() if kind in ("DOUBLE", "FLOAT")]
    if reals:
        texts = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in reals)
        long = ", ".join(f"bool_or(regexp_full_match({named(n)}, {quoted(_LONG)}))" for n in reals)
        query = f"SELECT {long} FROM ({read(f'columns = {{{texts}}}')})"
        for name, inexact in zip(reals, row_of(connection, query), strict=True):
            kinds[name] = "VARCHAR" if inexact else kinds[name]
    columns = ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in kinds.items())
    return connection.sql(read(f"columns = {{{columns}}}")).to_arrow_reader(_BATCH_ROWS)


def _refuse_case_twins(
    connection: DuckDBPyConnection, path: str, objects: str, columns: list[str]
) -> None:
    """Refuse keys that differ only in case: DuckDB gives one of them a number, and no values."""
    known = {name.casefold() for name in columns}
    numbered = [name for name in columns if name.casefold().rpartition("_")[0] in known]
    if not numbered:
        return
    query = f"SELECT DISTINCT unnest(json_keys(json)) FROM {objects}"
    _refuse_one_name(path, [key for (key,) in connection.execute(query).fetchall()])


def _refuse_one_name(path: str, names: list[str]) -> None:
    folded: dict[str, str] = {}
    for name in names:
        if name.casefold() in folded:
            raise InputError(
                f"{path}: the names of two columns, '{folded[name.casefold()]}' and '{name}', are "
                "equal or differ only in case. Readers that ignore case cannot tell them apart. "
                "Rename one of them"
            )
        folded[name.casefold()] = name


def _plain(kind: Any, name: str) -> str:
    """A type that DuckDB inferred for a column or member, with text for what it guessed from texts,
    and for ids that are not whole numbers or too large for one.
    """
    if kind.id == "list":
        return f"{_plain(dict(kind.children)['child'], name)}[]"
    if kind.id == "struct":
        return f"STRUCT({', '.join(f'{named(n)} {_plain(k, n)}' for n, k in kind.children)})"
    if kind.id == "map":
        key, value = (_plain(inner, "") for _, inner in kind.children)
        return f"MAP({key}, {value})"
    inexact = name in _IDS and kind.id in ("float", "double")
    return "VARCHAR" if inexact or kind.id in _GUESSED else str(kind)


def _text(connection: DuckDBPyConnection, path: str, delimiter: str) -> pa.RecordBatchReader:
    file = source(connection, path)
    blank, first = _first_line(connection, file)
    used = [each for each in _DELIMITERS if each in first]
    if len(first) == 5 and first.lower().startswith("sep="):  # Excel names the sign
        delimiter, blank = first[4], blank + 1
    elif delimiter not in first and used:  # spreadsheets of many countries write semicolons
        delimiter = used[0]

    def read(more: str) -> str:
        return (
            f"read_csv({file}, {more}, skip = {blank}, all_varchar = true, "
            f"delim = {quoted(delimiter)}, quote = '\"', escape = '\"', strict_mode = true, "
            "max_line_size = 33554432)"
        )

    relation = read("header = true")
    names = connection.sql(f"SELECT * FROM {relation}").columns
    header = row_of(connection, f"SELECT * FROM {read('header = false')} LIMIT 1")
    _refuse_one_name(path, [name for name in header if name])
    others = [name for name in names if name not in _TEXTS]
    kinds = dict.fromkeys(names, "VARCHAR")
    if others:
        asked = ", ".join(
            f"bool_and(regexp_full_match({named(name)}, {quoted(pattern)}))"
            for name in others
            for pattern in (_WHOLE, _REAL)
        )
        answers = row_of(connection, f"SELECT {asked} FROM {relation}")
        for name, whole, real in zip(others, answers[::2], answers[1::2], strict=True):
            kinds[name] = "BIGINT" if whole else "DOUBLE" if real else "VARCHAR"
    chosen = ", ".join(f"CAST({named(n)} AS {k}) AS {named(n)}" for n, k in kinds.items())
    return connection.sql(f"SELECT {chosen} FROM {relation}").to_arrow_reader(_BATCH_ROWS)


def _first_line(connection: DuckDBPyConnection, file: str) -> tuple[int, str]:
    """The number of blank lines before the first line with text, and this line."""
    for number, (line,) in enumerate(connection.execute(_HEAD.format(file=file)).fetchall()):
        if line and line.strip():
            return number, str(line).strip()
    return 0, ""


def _arrow(path: str, kind: str) -> pa.RecordBatchReader:
    filesystem, inner = open_filesystem(path)
    try:
        with filesystem.open(inner) as file:
            stream = kind == "feather" and file.read(6) != b"ARROW1"
        if stream:  # as Hugging Face datasets writes it
            reader = pa.ipc.open_stream(filesystem.open(inner))
        else:
            found = dataset.dataset(inner, format=kind, filesystem=filesystem)
            reader = found.scanner(batch_size=_BATCH_ROWS).to_reader()
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read: {brief(error)}") from None

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: cannot be read: {brief(error)}") from None

    return pa.RecordBatchReader.from_batches(reader.schema, batches())
