"""The candidates of each query: TREC runs, qrels, and MTEB predictions."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from reranker_core.convert.delimited import lines_of
from reranker_core.errors import InputError, brief
from reranker_core.errors import count as told
from reranker_core.storage.database import row_of, sample, source
from reranker_core.storage.filesystem import open_filesystem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_EXPECTED = "expected nested objects: subset, split, query id, document id, score (a finite number)"

_RANKS = ("rank", "ranking", "position")
_WHOLE = "[-+]?[0-9]+"
_NO_SCORE = (
    "For ranks, write a TREC run with a score that falls with the rank: query Q0 document rank "
    "score tag"
)


def load_run(connection: DuckDBPyConnection, path: str) -> str:
    """Make the table `candidates` of a run or of qrels: query_id, doc_id, number, line.

    `number` is the first stage's score of a run, and the relevance of qrels.

    Args:
        connection: the database.
        path: TREC run (query, Q0, document, rank, score, tag), rankings (query, document, score),
            TREC qrels (query, 0, document, relevance), BEIR qrels (a heading, then query, document,
            relevance, by tabs), or MTEB predictions (.json); also with .gz or .zst.

    Returns:
        What `number` is: `score` or `relevance`.

    Raises:
        InputError: a line has a different number of fields or no number, a pair occurs twice, or
            it is not clear what the numbers are.

    """
    if path.lower().endswith(".json"):
        _load_predictions(connection, path)
        kind = "score"
    else:
        kind = _load_lines(connection, path)
    count, queries = sample(
        connection,
        "SELECT query_id FROM candidates GROUP BY query_id, doc_id HAVING count(*) > 1",
    )
    if count:
        raise InputError(
            f"{path}: pairs that occur more than once: {count}. Their queries include {queries}"
        )
    return kind


def _load_lines(connection: DuckDBPyConnection, path: str) -> str:
    lines = lines_of(source(connection, path))
    # By tabs where there are some, because ids may hold blanks then.
    connection.execute(
        f"""
        CREATE TEMP TABLE fields AS
        SELECT line, CASE WHEN len(string_split(text, E'\\t')) IN (3, 4, 6)
            THEN string_split(text, E'\\t') ELSE regexp_split_to_array(text, '\\s+') END AS field
        FROM (SELECT row_number() OVER () AS line, trim(line, E' \\r\\n') AS text FROM {lines})
        WHERE text <> ''
        """
    )
    first = row_of(connection, "SELECT field FROM fields ORDER BY line LIMIT 1")
    if not first:
        raise InputError(f"{path}: the file is empty")
    fields = list(first[0])
    heading = len(fields) == 3 and not _is_number(fields[2])
    if heading and fields[2].casefold() in _RANKS:
        raise InputError(f"{path}: its third column is '{fields[2]}'. {_NO_SCORE}")
    query, document, number, kind = _layout(path, len(fields), heading)
    skipped = "WHERE line > (SELECT min(line) FROM fields)" if heading else ""
    line, count = row_of(
        connection,
        f"SELECT min(line), count(*) FROM (SELECT * FROM fields {skipped}) "
        f"WHERE len(field) <> {len(fields)} "
        f"OR NOT coalesce(isfinite(TRY_CAST(field[{number}] AS DOUBLE)), false)",
    )
    if count:
        raise InputError(
            f"{path}: line {line} does not have the format of the first line ({len(fields)} "
            f"fields, with a number in field {number}). Number of such lines: {count}"
        )
    _refuse_other_meaning(connection, path, len(fields), heading)
    connection.execute(
        f"CREATE TABLE candidates AS SELECT field[{query}] AS query_id, field[{document}] AS "
        f"doc_id, CAST(field[{number}] AS DOUBLE) AS number, line FROM fields {skipped}"
    )
    return kind


def _refuse_other_meaning(
    connection: DuckDBPyConnection, path: str, count: int, heading: bool
) -> None:
    """Refuse numbers that may be something else than the layout says."""

    def all_lines(condition: str) -> bool:
        return bool(row_of(connection, f"SELECT bool_and({condition}) FROM fields")[0])

    if count == 3 and not heading and all_lines(f"regexp_full_match(field[3], '{_WHOLE}')"):
        raise InputError(
            f"{path}: has no heading, and its third field is a whole number in all lines: it can "
            "be a relevance, a rank or a score. For qrels, add a first line: query-id, corpus-id "
            f"and score, separated by tabs. {_NO_SCORE}. For scores, write one of them as a "
            "fraction, such as 3.0"
        )
    if count == 6 and not all_lines(f"regexp_full_match(field[4], '{_WHOLE}')"):
        raise InputError(
            f"{path}: field 4 is not a whole number in all lines; expected the rank there, and the "
            "score in field 5: query Q0 document rank score tag"
        )
    places = (
        "SELECT *, row_number() OVER (PARTITION BY field[1] ORDER BY line) AS place FROM fields"
    )
    counted = (
        "SELECT bool_and(TRY_CAST(field[3] AS BIGINT) = place) AND count(DISTINCT field[2]) > 1 "
        f"FROM ({places})"
    )
    if count == 4 and row_of(connection, counted)[0]:
        raise InputError(
            f"{path}: its third field counts the lines of each query, so it seems to be: query "
            "document rank score. Qrels have: query 0 document relevance. Write a run with 6 "
            "fields: query Q0 document rank score tag"
        )


def _layout(path: str, count: int, heading: bool) -> tuple[int, int, int, str]:
    """Where query, document and number stand, from 1, and what the number is."""
    if count == 6:
        return 1, 3, 5, "score"
    if count == 4:
        return 1, 3, 4, "relevance"
    if count == 3:
        return 1, 2, 3, "relevance" if heading else "score"
    raise InputError(
        f"{path}: its first line has {told(count, 'field')}; expected 6 (TREC run), 4 (TREC "
        "qrels), or 3 (query, document, score; with a heading: BEIR qrels)"
    )


def _load_predictions(connection: DuckDBPyConnection, path: str) -> None:
    """MTEB's predictions: subset → split → query → document → score. Ids and scores are held in
    memory.
    """
    filesystem, inner = open_filesystem(path)
    try:
        tree = json.loads(filesystem.cat_file(inner), object_pairs_hook=_unique)
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {brief(error)}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: is not valid JSON") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: {_EXPECTED}")
    results: Any = {key: tree[key] for key in tree if key != "mteb_model_meta"}
    depth = _depth(results)
    for level in ("subset", "split")[: max(depth - 2, 0)]:
        if len(results) != 1:
            raise InputError(
                f"{path}: has several {level}s ({', '.join(sorted(results))}); expected one. "
                "Remove the others first"
            )
        (results,) = results.values()
    if _depth(results) != 2:
        raise InputError(f"{path}: {_EXPECTED}")
    try:
        rows = [(query, document, _finite(score)) for query, documents in results.items()
                for document, score in documents.items()]  # fmt: skip
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{path}: {_EXPECTED}") from None
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    names = ("query_id", "doc_id", "number")
    kinds = (pa.string(), pa.string(), pa.float64())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    predictions = pa.table(dict(zip(names, arrays, strict=True)))
    connection.register("predictions", predictions)
    connection.execute(
        "CREATE TABLE candidates AS SELECT *, row_number() OVER () AS line FROM predictions"
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of JSON with these keys and values. Raises InputError if a key occurs twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise InputError(f"the key '{twice}' occurs twice in one object")
    return found


def _finite(score: Any) -> float:
    """The score as a number. Raises ValueError if it is none, or not finite."""
    if isinstance(score, bool) or not math.isfinite(found := float(score)):
        raise ValueError(score)
    return found


def _depth(tree: Any) -> int:
    depth = 0
    while isinstance(tree, dict) and tree:
        tree = next((below for below in tree.values() if below != {}), {})  # a query without any
        depth += 1
    return depth


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
