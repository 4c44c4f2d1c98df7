"""The pairs of an output as a relation of DuckDB, one row a pair, flat or nested alike.

Rows are filtered and joined where they are read, so memory does not grow with the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reranker_core.errors import ConfigError, Incomplete
from reranker_core.output.commit import open_data, part_of
from reranker_core.storage.database import glob_in, named, row_of
from reranker_core.storage.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

HASHES = 1 << 64
_FILE = "batch-reranker file"  # no column of the data has this name


@dataclass(frozen=True)
class Columns:
    """Names of the columns to read; `a.b` is a field of the structs in list column `a`.

    Attributes:
        first_stage: the score of the first stage, or None for the order of the rows.
        label: relevance, or None.
        group: what queries are grouped by, or None.

    """

    query_id: str
    doc_id: str
    score: str
    first_stage: str | None = None
    label: str | None = None
    group: str | None = None

    @classmethod
    def of_run(cls, run: dict[str, Any], **more: str | None) -> Columns:
        """From the identity of a run."""
        given, ours = run["input"]["columns"], run["output"]["columns"]
        return cls(given["query_id"], given["doc_id"], ours["score"], **more)


@dataclass(frozen=True)
class Relation:
    """A query of DuckDB with the columns `query`, `document`, `score`, `first`, `label`, `grp`,
    `part`, `row` and `place`: texts and numbers; null where there is nothing.

    Attributes:
        sql: to be used as a subquery.
        rows: the same before lists are unnested.
        types: type of each column of the files, in the words of DuckDB.
        nested: whether a row holds lists.

    """

    sql: str
    rows: str
    types: dict[str, str]
    nested: bool

    def misfits(self, name: str) -> str:
        """A query for a row whose list `name` is not as long as its candidates: query id, and both
        lengths.
        """
        if not self.nested:
            return "SELECT 1, 1, 1 WHERE false"
        return (
            f"SELECT query, coalesce(len({name}), 0), len(document) FROM ({self.rows}) "
            f"WHERE len(score) = len(document) "
            f"AND coalesce(len({name}), 0) != len(document) LIMIT 1"
        )


def scored_pairs(
    connection: DuckDBPyConnection, store: Store, columns: Columns, limit: int = HASHES
) -> Relation:
    """All pairs of an output, or those of queries whose hash is below `limit` (of 2^64).

    Raises:
        ConfigError: a column is not in the output.
        Incomplete: a data file is damaged, or there is none.

    """
    names = _names(store)
    files = (
        f"read_parquet({glob_in(connection, store)}, filename = '{_FILE}', "
        "file_row_number = true, hive_partitioning = false)"
    )
    found = connection.execute(f"DESCRIBE SELECT * FROM {files}").fetchall()
    kinds = [str(row[1]) for row in found]
    # DuckDB takes `Score` and `score` for one name, so columns go by their place in a file.
    files += f" AS files({', '.join([*map(_place, range(len(kinds) - 2)), 'row', 'file'])})"
    types = dict(zip(names, kinds, strict=False))
    nested = types.get(columns.score, "").endswith("]")
    read = _Reader(store, types, nested)
    query = read.text(columns.query_id)
    sampled = f"WHERE hash({query}) < {limit}" if limit < HASHES else ""
    rows = (
        f"SELECT {query} AS query, {read.texts(columns.doc_id)} AS document, "
        f"{read.each(columns.score)} AS score, {read.each(columns.first_stage)} AS first, "
        f"{read.each(columns.label)} AS label, "
        f"{read.text(columns.group) if columns.group else 'NULL'} AS grp, "
        "parse_filename(file, true) AS part, row "
        f"FROM {files} {sampled}"
    )
    if not nested:
        return Relation(f"(SELECT *, 0 AS place FROM ({rows}))", rows, types, False)
    several = ", ".join(f"unnest({name}) AS {name}" for name in read.lists(columns))
    single = ", ".join(f"NULL AS {name}" for name in read.absent(columns))
    # Lists of different lengths belong to a row that has no scores.
    return Relation(
        f"(SELECT query, grp, part, row, {several}, {single + ', ' if single else ''}"
        f"unnest(range(len(score))) AS place FROM ({rows}) WHERE len(score) = len(document))",
        rows,
        types,
        True,
    )


def fraction_limit(fraction: float) -> int:
    """The `limit` of `scored_pairs` for this fraction of the queries."""
    return HASHES if fraction >= 1 else int(fraction * HASHES)


def sample_limit(connection: DuckDBPyConnection, relation: Relation, most: int) -> int:
    """The highest `limit` that leaves at most `most` queries, so that each call finds the same."""
    sql = (
        f"SELECT max(h) FROM (SELECT DISTINCT hash(query) AS h FROM {relation.sql} ORDER BY h "
        f"LIMIT {most + 1})"
    )
    (count,) = row_of(
        connection, f"SELECT count(*) FROM (SELECT DISTINCT query FROM {relation.sql})"
    )
    return HASHES if count <= most else int(row_of(connection, sql)[0])


class _Reader:
    """Columns of the files as expressions of SQL."""

    def __init__(self, store: Store, types: dict[str, str], nested: bool) -> None:
        self._store, self._types, self._nested = store, types, nested

    def text(self, name: str) -> str:
        """A column of the row as text."""
        return _as_text(self._known(name), self._types[name])

    def texts(self, name: str) -> str:
        """A column of the candidates as text."""
        if not self._nested:
            return self.text(name)
        binary = (
            "BLOB" if "BLOB" in self._types.get(name, self._types.get(_column(name), "")) else ""
        )
        return f"list_transform({self.each(name)}, lambda x: {_as_text('x', binary)})"

    def each(self, name: str | None) -> str:
        """A column of the candidates, as it is; a list where the layout is nested."""
        if name is None:
            return "NULL"
        if name in self._types:
            return self._known(name)
        known, member = self._known(_column(name), name), name.partition(".")[2]
        if not self._nested:
            return f"{known}.{named(member)}"
        return f"list_transform({known}, lambda x: x.{named(member)})"

    def lists(self, columns: Columns) -> list[str]:
        """The columns of the relation that are lists before they are unnested."""
        given = {"first": columns.first_stage, "label": columns.label}
        return ["document", "score", *(name for name, column in given.items() if column)]

    def absent(self, columns: Columns) -> list[str]:
        """The columns of the relation that the files do not have."""
        return [name for name in ("first", "label") if name not in self.lists(columns)]

    def _known(self, name: str, whole: str = "") -> str:
        if name not in self._types:
            there = ", ".join(self._types)
            raise ConfigError(
                f"{self._store.url}: has no column {whole or name}; it has {there}. "
                "Choose one of these; output.passthrough sets which input columns are copied"
            )
        return _place(list(self._types).index(name))


def _names(store: Store) -> list[str]:
    """The columns of the first data file."""
    parts = (part_of(listed.name) for listed in store.list())
    first = next((part for part in parts if part is not None), None)
    if first is None:
        raise Incomplete(f"{store.url}: contains no data files, so there are no scores to read")
    with open_data(store, first) as file:
        return list(file.schema_arrow.names)


def _place(number: int) -> str:
    return f"c{number}"


def _column(name: str) -> str:
    """The list column of a field of structs."""
    return name.partition(".")[0]


def _as_text(expression: str, kind: str) -> str:
    """Ids as text, so that 7 in one file is "7" in another."""
    plain = f"CAST({expression} AS VARCHAR)"
    if kind == "BLOB":
        return f"coalesce(TRY(decode({expression})), {plain}, 'None')"
    return f"coalesce({plain}, 'None')"
