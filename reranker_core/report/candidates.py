"""The scored candidates of an output, query by query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from reranker_core.errors import ConfigError, Incomplete
from reranker_core.report.scored_pairs import (
    HASHES,
    Columns,
    Relation,
    sample_limit,
    scored_pairs,
)
from reranker_core.storage.database import database
from reranker_core.storage.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_WHOLE = ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_FRACTIONS = ("FLOAT", "DOUBLE", "DECIMAL")
_ROWS_AT_ONCE = 1000


@dataclass
class Query:
    """The candidates of one query, in the order of the output.

    Attributes:
        scores: of the reranker; NaN for a candidate without one.
        first: scores of the first stage; descending numbers if the order of the rows is used.
        labels: relevance; empty without a label column.
        group: the value of the group column, as text.

    """

    documents: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    group: str = ""


def read_queries(
    store: Store, columns: Columns, wanted: Iterable[str] | None, most: int
) -> tuple[dict[str, Query], float]:
    """Candidates by query id, and the fraction of queries that were read.

    Memory grows with the queries that are read, not with the output. They are chosen by a hash of
    their id, so each call chooses the same ones.

    Args:
        store: the output.
        columns: what to read.
        wanted: the queries to read; None for all.
        most: queries to keep; 0 for all.

    Raises:
        ConfigError: a column is not in the output, is not numeric, or does not fit the candidates.
        Incomplete: data files are missing or damaged.

    """
    found: dict[str, Query] = {}
    with database("evaluate", Incomplete) as connection:
        relation = scored_pairs(connection, store, columns)
        _check(connection, relation, columns)
        limit = HASHES
        if wanted is not None:
            connection.register("wanted", pa.table({"query": pa.array(list(wanted), pa.string())}))
            chosen = "WHERE query IN (SELECT query FROM wanted)"
        else:
            limit = sample_limit(connection, relation, most) if most else HASHES
            chosen = f"WHERE hash(query) < {limit}" if limit < HASHES else ""
        rows = connection.execute(
            f"SELECT query, {', '.join(map(_in_order, ('document', 'score', 'first', 'label')))}, "
            f"{_in_order('grp')}[1] FROM {relation.sql} {chosen} GROUP BY query "
            "ORDER BY min(part), min(row)"
        )
        while batch := rows.fetchmany(_ROWS_AT_ONCE):
            for query, documents, scores, first, labels, group in batch:
                found[query] = Query(
                    documents,
                    _numbers(scores),
                    _numbers(first)
                    if columns.first_stage
                    else [-float(row) for row in range(len(documents))],
                    [int(label or 0) for label in labels] if columns.label else [],
                    group or "",
                )
    return found, limit / HASHES


def _in_order(name: str) -> str:
    return f"list({name} ORDER BY part, row, place)"


def _numbers(values: list[float | None]) -> list[float]:
    return [np.nan if value is None else float(value) for value in values]


def _check(connection: DuckDBPyConnection, relation: Relation, columns: Columns) -> None:
    """See that each candidate has one value, and that labels are whole numbers."""
    for name, column in (("first", columns.first_stage), ("label", columns.label)):
        if column is None:
            continue
        for query, values, candidates in connection.execute(relation.misfits(name)).fetchall():
            raise ConfigError(
                f"column {column}, query {query}: has {values} values for {candidates} "
                "candidates; expected one for each. Name another column"
            )
    if columns.label is None:
        return
    kind = connection.execute(f"DESCRIBE SELECT label FROM {relation.sql}").fetchall()[0][1]
    found = "" if kind.removeprefix("U") in _WHOLE or kind == '"NULL"' else f"values of type {kind}"
    if kind.startswith(_FRACTIONS):
        odd = connection.execute(
            f"SELECT label FROM {relation.sql} WHERE label != floor(label) OR isnan(label) LIMIT 1"
        ).fetchall()
        found = f"the value {odd[0][0]}" if odd else ""
    if found:
        raise ConfigError(
            f"--label {columns.label}: the column has {found}; expected whole numbers or booleans"
        )
