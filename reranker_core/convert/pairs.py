"""Candidates with their texts: one pair per row, queries in the order of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from reranker_core.convert.candidates import load_run
from reranker_core.convert.texts import load_texts
from reranker_core.errors import InputError
from reranker_core.storage.database import row_of, sample

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BATCH_ROWS = 2048
# What ranks and measures of a run go by is its score; its file's order decides between equal ones.
_ORDER = {"score": "number DESC, line", "relevance": "line"}
_NUMBER = {
    "score": "number AS first_stage_score, place AS first_stage_rank",
    "relevance": "number AS relevance",
}


def joined(
    connection: DuckDBPyConnection, corpus: str, queries: str, run: str, top: int | None
) -> pa.RecordBatchReader:
    """The pairs of a run, or of qrels, with the columns query_id, query, doc_id, passage, and
    first_stage_score and first_stage_rank, or relevance.

    Args:
        connection: the database.
        corpus: file with the passages.
        queries: file with the queries.
        run: file with the candidates of each query.
        top: keep this number of best candidates per query; None: all.

    Raises:
        InputError: a file cannot be read, or ids of the run are missing in corpus or queries.

    """
    kind = load_run(connection, run)
    # From here on rows have numbers, and need not be held back for their order.
    connection.execute("SET preserve_insertion_order = false")
    load_texts(connection, "corpus", corpus)
    load_texts(connection, "queries", queries)
    connection.execute(
        f"""
        CREATE TABLE pairs AS
        SELECT *, min(line) OVER (PARTITION BY query_id) AS query_place FROM (
            SELECT *, row_number() OVER (PARTITION BY query_id ORDER BY {_ORDER[kind]}) AS place
            FROM candidates
        )
        """
    )
    if top is not None:
        connection.execute(f"DELETE FROM pairs WHERE place > {int(top)}")
    _refuse_missing(connection, "doc_id", "corpus", run, corpus)
    _refuse_missing(connection, "query_id", "queries", run, queries)
    number = _NUMBER[kind]
    if (
        kind == "relevance"
        and row_of(connection, "SELECT bool_and(number = trunc(number)) FROM pairs")[0]
    ):
        number = "CAST(number AS BIGINT) AS relevance"
    query = f"""
        SELECT query_id, queries.text AS query, doc_id, corpus.text AS passage, {number}
        FROM pairs JOIN queries ON query_id = queries.id JOIN corpus ON doc_id = corpus.id
        ORDER BY query_place, place
    """
    return connection.sql(query).to_arrow_reader(_BATCH_ROWS)


def _refuse_missing(
    connection: DuckDBPyConnection, column: str, table: str, run: str, path: str
) -> None:
    query = f"SELECT DISTINCT {column} FROM pairs ANTI JOIN {table} ON {column} = id"
    count, ids = sample(connection, query)
    if count:
        raise InputError(
            f"{run}: ids ({column}) that are missing in {path}: {count}, such as {ids}. Nothing "
            "was written. Use the corpus and the queries that the run was created with"
        )
