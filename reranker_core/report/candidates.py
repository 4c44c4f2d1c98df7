"""The scored candidates of an output, query by query."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from reranker_core.errors import ConfigError
from reranker_core.input.types.common_type import is_list
from reranker_core.output.commit import data_name, open_data, part_of
from reranker_core.report.judgements import id_text
from reranker_core.storage.store import Store

_HASHES = 1 << 64


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
    store: Store, columns: Columns, wanted: Container[str] | None, most: int
) -> tuple[dict[str, Query], float]:
    """Candidates by query id, and the fraction of queries that were read.

    Memory grows with `most`, not with the output. Queries are chosen by a hash of their id, so each
    call chooses the same ones.

    Args:
        store: the output.
        columns: what to read.
        wanted: the queries to read; None for all.
        most: queries to keep; 0 for all.

    Raises:
        ConfigError: a column is not in the output, or is not numeric.

    """
    found: dict[str, Query] = {}
    limit = _HASHES
    for listed in store.list():
        part = part_of(listed.name)
        if part is None:
            continue
        table = _read(store, part, columns)
        for query_id, group, rows in _rows(table, columns):
            if (wanted is not None and query_id not in wanted) or _hash(query_id) >= limit:
                continue
            query = found.setdefault(query_id, Query(group=group))
            for document, score, first, label in rows:
                query.documents.append(document)
                query.scores.append(np.nan if score is None else float(score))
                query.first.append(-len(query.first) if first is None else float(first))
                query.labels += [label] if columns.label else []
        while most and len(found) > most:
            limit //= 2
            found = {name: query for name, query in found.items() if _hash(name) < limit}
    return found, limit / _HASHES


def _read(store: Store, part: str, columns: Columns) -> pa.Table:
    with open_data(store, part) as file:
        there = file.schema_arrow.names
        wanted = [
            each if each in there else each.partition(".")[0]
            for each in vars(columns).values()
            if each is not None
        ]
        missing = sorted(set(wanted) - set(there))
        if missing:
            raise ConfigError(
                f"{store.url}/{data_name(part)}: has no column {', '.join(missing)}; it has "
                f"{', '.join(there)}. Choose one of these; output.passthrough sets which input "
                "columns are copied"
            )
        return file.read(columns=list(dict.fromkeys(wanted)))


def _rows(table: pa.Table, columns: Columns) -> Iterator[tuple[str, str, Iterator[Any]]]:
    """Query id, group, and the candidates of each row: one in flat output, all in nested."""
    nested = is_list(table.schema.field(columns.score).type)
    names = (columns.doc_id, columns.score, columns.first_stage, columns.label)
    values = [_values(table, name, nested) for name in names]
    if columns.label:
        values[3] = [[_label(each, columns.label) for each in row] for row in values[3]]
    ids = table[columns.query_id].to_pylist()
    groups = table[columns.group].to_pylist() if columns.group else [""] * table.num_rows
    for row, (query_id, group) in enumerate(zip(ids, groups, strict=True)):
        documents, scores, first, labels = (each[row] if each else [] for each in values)
        if len(documents) != len(scores):
            continue  # its status is misaligned_candidates: it has no scores
        for name, found in ((columns.first_stage, first), (columns.label, labels)):
            if name is not None and len(found) != len(documents):
                raise ConfigError(
                    f"column {name}, query {id_text(query_id)}: has {len(found)} values for "
                    f"{len(documents)} candidates; expected one for each. Name another column"
                )
        empty = [None] * len(documents)
        yield (
            id_text(query_id),
            id_text(group),
            zip(map(id_text, documents), scores, first or empty, labels or empty, strict=True),
        )


def _values(table: pa.Table, name: str | None, nested: bool) -> list[list[Any]]:
    """A list for each row, with the value of each candidate."""
    if name is None:
        return []
    if name in table.column_names:
        found = table[name].to_pylist()
    else:
        column, _, member = name.partition(".")
        found = [
            None if row is None else [each and each.get(member) for each in row]
            for row in table[column].to_pylist()
        ]
    if nested:
        return [[] if row is None else row for row in found]
    return [[value] for value in found]


def _label(value: Any, column: str) -> int:
    if value is None:
        return 0
    try:
        if float(value) == int(value):
            return int(value)
        found = f"the value {value}"
    except (TypeError, ValueError, OverflowError):
        found = f"values of type {type(value).__name__}"
    raise ConfigError(
        f"--label {column}: the column has {found}; expected whole numbers or booleans"
    )


def _hash(query_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(query_id.encode(), digest_size=8).digest())
