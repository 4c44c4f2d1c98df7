"""A corpus or queries: ids and texts from JSON Lines (BEIR, MTEB, Tevatron, Pyserini), TSV, CSV or
Parquet. Ids stay text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reranker_core.convert.delimited import open_delimited
from reranker_core.errors import InputError, count
from reranker_core.storage.database import named, quoted, row_of, sample, source

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_IDS = ("_id", "id", "docid", "doc_id", "corpus_id", "corpus-id", "pid",
        "query_id", "query-id", "qid")  # fmt: skip
_TEXTS = ("text", "contents", "passage", "query", "body")
_COMPRESSED = (".gz", ".zst")
_LARGEST_LINE = 32 * 2**20  # bytes; DuckDB holds two such buffers a thread


def load_texts(connection: DuckDBPyConnection, table: str, path: str) -> None:
    """Make `table` with the columns `id` and `text`, a row a line of the file.

    A title is put before its text, with a space between, as in the rerankers of BEIR.

    Args:
        connection: the database.
        table: its name; also what messages call the content.
        path: a file by its suffix: .jsonl (or .json, .ndjson), .tsv and .txt (id, text; a heading
            is recognised by its names), .csv with a heading, .parquet; also with .gz or .zst.

    Raises:
        InputError: the file has no ids or no texts, or an id occurs twice.

    """
    relation, names = _relation(connection, path)
    ids = [name for name in _IDS if name in names]
    texts = [name for name in _TEXTS if name in names]
    if not ids or not texts:
        raise InputError(
            f"{path}: has the columns {', '.join(names) or 'none'}; expected one of "
            f"{', '.join(_IDS)} and one of {', '.join(_TEXTS)}"
        )
    text = _first(texts)
    if "title" in names:
        title = "nullif(CAST(title AS VARCHAR), '')"
        joined = f"trim(concat({title}, ' ', {text}), E' \\t\\n\\r\\f\\v')"
        text = f"CASE WHEN {title} IS NULL THEN {text} ELSE {joined} END"
    connection.execute(
        f"CREATE TABLE {table} AS SELECT {_first(ids)} AS id, {text} AS text FROM {relation}"
    )
    _check(connection, table, path)


def _relation(connection: DuckDBPyConnection, path: str) -> tuple[str, list[str]]:
    """A file as a relation of SQL, and the names of its columns."""
    name = path.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    file = source(connection, path)
    if name.endswith((".jsonl", ".json", ".ndjson")):
        known = (*_IDS, "title", *_TEXTS)
        columns = ", ".join(f"{quoted(column)}: 'VARCHAR'" for column in known)
        relation = (
            f"read_json({file}, columns = {{{columns}}}, maximum_object_size = {_LARGEST_LINE})"
        )
        asked = ", ".join(f"count({named(column)}) > 0" for column in known)
        begun = ", ".join(f"bool_or(regexp_matches({named(c)}, '^[[{{]'))" for c in known)
        facts = row_of(connection, f"SELECT {asked}, {begun} FROM {relation}")
        there, lists = facts[: len(known)], facts[len(known) :]
        _refuse_lists(connection, path, [c for c, has in zip(known, lists, strict=True) if has])
        return relation, [column for column, has in zip(known, there, strict=True) if has]
    if name.endswith(".parquet"):
        relation = f"read_parquet({file})"
    elif name.endswith((".csv", ".tsv", ".txt")):
        csv = name.endswith(".csv")
        opened = open_delimited(connection, path, "," if csv else "\t", None if csv else _IDS)
        if opened is None:
            raise InputError(f"{path}: the file is empty")
        return opened.relation, list(opened.names)
    else:
        raise InputError(
            f"{path}: unknown file type; expected .jsonl, .tsv, .csv or .parquet, also with .gz"
        )
    return relation, _names(connection, relation)


def _refuse_lists(connection: DuckDBPyConnection, path: str, columns: list[str]) -> None:
    """Refuse ids, titles and texts that are lists or objects: their JSON is no text."""
    file = source(connection, path)
    objects = f"read_json_objects({file}, maximum_object_size = {_LARGEST_LINE})"
    for column in columns:
        kind = f"json_type(json, {quoted('$.' + named(column))})"
        query = f"SELECT count(*) FROM {objects} WHERE {kind} IN ('ARRAY', 'OBJECT')"
        (rows,) = row_of(connection, query)
        if rows:
            raise InputError(
                f"{path}: '{column}' is a list or an object in {count(rows, 'row')}; expected a "
                "string"
            )


def _names(connection: DuckDBPyConnection, relation: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(f"DESCRIBE FROM {relation}").fetchall()]


def _first(names: list[str]) -> str:
    """The first of several columns that is not null, as text."""
    return f"coalesce({', '.join(f'CAST({named(name)} AS VARCHAR)' for name in names)})"


def _check(connection: DuckDBPyConnection, table: str, path: str) -> None:
    (without,) = row_of(connection, f"SELECT count(*) FROM {table} WHERE id IS NULL")
    if without:
        raise InputError(f"{path}: lines without an id: {without}")
    twice, ids = sample(connection, f"SELECT id FROM {table} GROUP BY id HAVING count(*) > 1")
    if twice:
        raise InputError(f"{path}: ids that occur more than once: {twice}, such as {ids}")
