"""Judgements of relevance: which documents are relevant to a query, and how much."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.errors import InputError, brief
from reranker_core.input.types.ids import listed
from reranker_core.storage.filesystem import open_filesystem, open_to_read

Judgements = dict[str, dict[str, int]]
"""Query id → document id → relevance; 0 is not relevant."""

_IDS, _RELEVANCE = ("query_id", "doc_id"), "relevance"  # columns of Parquet files
_HEADING = ("query-id", "corpus-id", "score")  # of BEIR's files


def read_judgements(path: str) -> Judgements:
    """Read a file of judgements, local or a URL.

    Args:
        path: a TREC qrels file (`query 0 document relevance`, separated by white space), a TSV
            file of BEIR (`query-id`, `corpus-id`, `score`, with a heading), or Parquet with the
            columns `query_id`, `doc_id` and `relevance`, or only the first two, if each row is a
            relevant document. Text may be compressed with gzip.

    Raises:
        InputError: the file cannot be read, or a line or value is not as described.

    """
    filesystem, inner = open_filesystem(path)
    try:
        with open_to_read(filesystem, inner) as file:
            data = file.read()
    except FileNotFoundError:
        raise InputError(f"--qrels {path}: cannot be read: there is no such file") from None
    except OSError as error:
        raise InputError(f"--qrels {path}: cannot be read: {brief(error)}") from None
    rows = _of_parquet(data, path) if data[:4] == b"PAR1" else _of_text(data, path)
    found: Judgements = {}
    for query, document, relevance in rows:
        found.setdefault(query, {})[document] = relevance
    if not found:
        raise InputError(f"--qrels {path}: the file contains no judgements")
    return found


def id_text(value: Any) -> str:
    """An id as text, so that 7 in one file is "7" in another."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _of_parquet(data: bytes, path: str) -> Iterator[tuple[str, str, int]]:
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        there = file.schema_arrow.names
        table = file.read([name for name in (*_IDS, _RELEVANCE) if name in there])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"--qrels {path}: not a readable Parquet file: {brief(error)}") from None
    missing = [name for name in _IDS if name not in there]
    others = [name for name in there if name not in _IDS]
    known = _RELEVANCE in there
    if missing or (others and not known):
        lacking = missing + [_RELEVANCE] * (not known and not missing)
        raise InputError(
            f"--qrels {path}: missing columns {', '.join(lacking)}; the file has "
            f"{', '.join(there)}. Expected query_id, doc_id and relevance. "
            "Rename the columns. If each row is a relevant document, write query_id and doc_id only"
        )
    relevance = listed(table[_RELEVANCE]) if known else [1] * table.num_rows
    ids = (listed(table[name]) for name in _IDS)
    for row, (query, document, value) in enumerate(zip(*ids, relevance, strict=True)):
        yield id_text(query), id_text(document), _grade(value, path, f"row {row}")


def _of_text(data: bytes, path: str) -> Iterator[tuple[str, str, int]]:
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise InputError(f"--qrels {path}: not a text file in UTF-8: {brief(error)}") from None
    for number, line in enumerate(text.splitlines(), 1):
        # BEIR separates by tabs; its ids may hold blanks.
        fields = line.split("\t") if line.count("\t") == 2 else line.split()
        if not fields or (number == 1 and tuple(fields) == _HEADING):
            continue
        if len(fields) not in (3, 4):
            raise InputError(
                f"--qrels {path}, line {number}: has {len(fields)} fields; expected 4 (TREC: "
                "query, 0, document, relevance) or 3 (BEIR: query, document, relevance)"
            )
        yield fields[0], fields[-2], _grade(fields[-1], path, f"line {number}")


def _grade(value: Any, path: str, where: str) -> int:
    try:
        number = float(value)
        if number == int(number):
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"--qrels {path}, {where}: relevance is {value!r}; expected a whole number")
