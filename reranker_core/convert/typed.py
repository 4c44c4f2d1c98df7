"""JSON Lines, CSV and TSV: files without types, which are inferred over all files of a command.

Columns keep their names. Texts stay as they are: nothing that looks like a date becomes one, and a
column becomes a number only if no digit is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from reranker_core.convert.delimited import Delimited, open_delimited, refuse_one_name
from reranker_core.convert.inexact import Path, inexact_paths
from reranker_core.errors import InputError, count
from reranker_core.storage.database import named, quoted, row_of, source

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BATCH_ROWS = 2048
_LARGEST_LINE = 32 * 2**20  # bytes; DuckDB holds two such buffers a thread
_GUESSED = ("date", "time", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "uuid",
            "timestamp with time zone", "time with time zone", "interval", "blob", "time_ns",
            "hugeint", "uhugeint")  # fmt: skip
_TEXTS = ("query_id", "query", "doc_id", "passage")
_IDS = ("query_id", "doc_id")
_WHOLE = "-?(0|[1-9][0-9]{0,17})"
_REAL = "-?(0|[1-9][0-9]{0,14}|(0|[1-9][0-9]*)([.][0-9]+([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+))"
Types = dict[str, str]  # of the columns, in the words of DuckDB
File = TypeVar("File")


class JsonLines:
    """Files of JSON Lines. A key that a file does not have is null in its rows.

    Raises:
        InputError: a line is no object, or two keys differ only in case.

    """

    def __init__(self, connection: DuckDBPyConnection, paths: Sequence[str]) -> None:
        self._connection = connection
        filled = [path for path in paths if self._has_rows(path)]
        self._types = _of_all(filled, self._infer)

    def read(self, path: str) -> pa.RecordBatchReader:
        """The rows of a file."""
        if not self._types:  # no file has any
            return pa.RecordBatchReader.from_batches(pa.schema([]), [])
        types = ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in self._types.items())
        query = self._query([path], f"columns = {{{types}}}")
        return self._connection.sql(query).to_arrow_reader(BATCH_ROWS)

    def _has_rows(self, path: str) -> bool:
        query = f"SELECT 1 FROM read_json_objects({self._sources([path])}) LIMIT 1"
        return bool(row_of(self._connection, query))

    def _sources(self, paths: Sequence[str]) -> str:
        files = ", ".join(source(self._connection, path) for path in paths)
        return f"[{files}], maximum_object_size = {_LARGEST_LINE}"

    def _query(self, paths: Sequence[str], more: str) -> str:
        return f"SELECT * FROM read_json({self._sources(paths)}, {more})"

    def _infer(self, paths: Sequence[str]) -> Types:
        connection = self._connection
        whole = f"sample_size = -1, union_by_name = true, maximum_sample_files = {len(paths)}"
        found = connection.sql(self._query(paths, whole))
        if found.columns == ["json"]:  # a single map: many keys, all with values of one type
            found = connection.sql(self._query(paths, f"{whole}, map_inference_threshold = -1"))
        if found.columns == ["json"]:
            raise InputError(f"{paths[0]}: expected a JSON object with named values per row")
        self._refuse_case_twins(paths, found.columns)
        self._refuse_lists_beside_texts(
            paths, [n for n, kind in zip(found.columns, found.types, strict=True)
                    if n in _TEXTS and str(kind) == "JSON"]
        )  # fmt: skip
        kinds = dict(zip(found.columns, found.types, strict=True))
        inexact = self._inexact(paths, kinds)
        return {name: _plain(kind, (name,), inexact) for name, kind in kinds.items()}

    def _inexact(self, paths: Sequence[str], kinds: dict[str, Any]) -> set[Path]:
        """Columns and members of type double with a number that a double would change."""
        reals = {name: kind for name, kind in kinds.items() if "DOUBLE" in str(kind)}
        if not reals:
            return set()
        texts = (f"{quoted(n)}: {quoted(_plain(kind, (n,), None))}" for n, kind in reals.items())
        rows = self._connection.sql(self._query(paths, f"columns = {{{', '.join(texts)}}}"))
        batches = rows.to_arrow_reader(BATCH_ROWS)
        return {path for batch in batches for path in inexact_paths(batch)}

    def _refuse_lists_beside_texts(self, paths: Sequence[str], mixed: Sequence[str]) -> None:
        """Refuse a text that is a list or an object in other rows: their JSON is no text."""
        for name in mixed:
            rows = self._query(paths, f"columns = {{{quoted(name)}: 'JSON'}}")
            counted = f"count(*) FILTER (json_type({named(name)}) IN ('ARRAY', 'OBJECT'))"
            (nested,) = row_of(self._connection, f"SELECT {counted} FROM ({rows})")
            if nested:
                raise InputError(
                    f"{' and '.join(paths)}: '{name}' is a list or an object in "
                    f"{count(nested, 'row')}, and something else in others. Write all rows as "
                    "pairs, or all rows as queries with lists of candidates"
                )

    def _refuse_case_twins(self, paths: Sequence[str], columns: list[str]) -> None:
        """Refuse keys that differ only in case: DuckDB loses the values of one."""
        known = {name.casefold() for name in columns}
        if not any(name.casefold().rpartition("_")[0] in known for name in columns):
            return
        objects = f"read_json_objects({self._sources(paths)})"
        keys = self._connection.execute(f"SELECT DISTINCT unnest(json_keys(json)) FROM {objects}")
        refuse_one_name(" and ".join(paths), sorted(key for (key,) in keys.fetchall()))


class Csv:
    """Files of CSV or TSV. Their delimiter is that of their name, or the one in their first line.

    Raises:
        InputError: two columns have one name.

    """

    def __init__(self, connection: DuckDBPyConnection, delimiters: dict[str, str]) -> None:
        self._connection = connection
        opened = {p: open_delimited(connection, p, sign) for p, sign in delimiters.items()}
        self._files = {path: file for path, file in opened.items() if file is not None}
        self._types = _of_all(list(self._files.values()), self._infer)

    def read(self, path: str) -> pa.RecordBatchReader:
        """The rows of a file."""
        file = self._files.get(path)
        if file is None:
            return pa.RecordBatchReader.from_batches(pa.schema([]), [])
        chosen = (f"CAST({named(n)} AS {self._types[n]}) AS {named(n)}" for n in file.names)
        query = f"SELECT {', '.join(chosen)} FROM {file.relation}"
        return self._connection.sql(query).to_arrow_reader(BATCH_ROWS)

    def _infer(self, files: Sequence[Delimited]) -> Types:
        types = dict.fromkeys((name for file in files for name in file.names), "VARCHAR")
        others = [name for name in types if name not in _TEXTS]
        if others:
            rows = " UNION ALL BY NAME ".join(f"SELECT * FROM {file.relation}" for file in files)
            asked = ", ".join(
                f"bool_and(regexp_full_match({named(name)}, {quoted(pattern)}) "
                f"AND coalesce(isfinite(TRY_CAST({named(name)} AS DOUBLE)), true))"
                for name in others
                for pattern in (_WHOLE, _REAL)
            )
            answers = row_of(self._connection, f"SELECT {asked} FROM ({rows})")
            for name, whole, real in zip(others, answers[::2], answers[1::2], strict=True):
                types[name] = "BIGINT" if whole else "DOUBLE" if real else "VARCHAR"
        return types


def _of_all(files: Sequence[File], infer: Callable[[Sequence[File]], Types]) -> Types:
    """The types of the columns of all files: inferred once more if the files differ."""
    each = [infer([file]) for file in files]
    if not each or all(types == each[0] for types in each):
        return each[0] if each else {}
    return infer(files)


def _plain(kind: Any, path: Path, inexact: set[Path] | None) -> str:
    """A type that DuckDB inferred for a column or member, with text for what it guessed from texts,
    for values of several kinds (which it calls JSON), for numbers as query or passage, and for ids
    that are not whole numbers or too large for one.

    Args:
        kind: the type.
        path: of the column or member.
        inexact: those whose numbers would be changed; None: all numbers become text.

    """
    if kind.id == "list":
        return f"{_plain(dict(kind.children)['child'], (*path, '[]'), inexact)}[]"
    if kind.id == "struct":
        members = (f"{named(n)} {_plain(k, (*path, n), inexact)}" for n, k in kind.children)
        return f"STRUCT({', '.join(members)})"
    if kind.id == "map":
        key, value = (_plain(k, (*path, n), inexact) for n, k in kind.children)
        return f"MAP({key}, {value})"
    if str(kind) == "JSON" or kind.id in _GUESSED:
        return "VARCHAR"
    name = next(step for step in reversed(path) if step != "[]")
    is_real = kind.id in ("float", "double")
    if is_real and (inexact is None or path in inexact or name in _IDS):
        return "VARCHAR"
    is_text = name in _TEXTS and name not in _IDS and kind.id != "sqlnull"
    return "VARCHAR" if is_text else str(kind)
