"""Checks of the rows of a data file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reranker_core.config import OutputColumns, OutputConfig
from reranker_core.input.pairs import Status
from reranker_core.input.schema import InputSchema
from reranker_core.input.types.ids import numbers_of
from reranker_core.output.receipts import Facts
from reranker_core.output.results import rank_within
from reranker_core.output.written import lower_layers


@dataclass(frozen=True)
class Columns:
    """Names of the columns to check; None for columns that the file does not have."""

    nested: bool
    query_id: str
    score: str
    status: str
    normalized: str | None
    rank: str | None
    layers: tuple[str, ...] = ()  # scores behind lower cutoff layers

    @classmethod
    def of_run(cls, run: dict[str, Any]) -> Columns:
        """From the identity of a run."""
        names = run["output"]["columns"]
        return cls(
            nested=run["input"]["layout"] == "nested",
            query_id=run["input"]["columns"]["query_id"],
            score=names["score"],
            status=names["status"],
            normalized=None if run["fingerprint"]["normalize"] == "none" else names["normalized"],
            rank=names["rank"] if run["output"]["rank"] else None,
            layers=tuple(
                OutputColumns(score=names["score"]).of_layer(n) for n in lower_layers(run)
            ),
        )

    @classmethod
    def of(cls, schema: InputSchema, output: OutputConfig, layers: Iterable[int]) -> Columns:
        """From schema and configuration, with the scores of these lower layers."""
        names = output.columns
        return cls(
            nested=schema.nested,
            query_id=schema.query_id,
            score=names.score,
            status=names.status,
            normalized=None if output.normalize == "none" else names.normalized,
            rank=names.rank if output.rank else None,
            layers=tuple(names.of_layer(layer) for layer in layers),
        )

    @property
    def names(self) -> list[str]:
        """The columns that the checks read."""
        wanted = [self.score, *self.layers, self.status, self.normalized, self.rank]
        if self.rank and not self.nested:
            wanted.append(self.query_id)
        return [name for name in wanted if name]


def _numbers(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} {status}" for status, number in sorted((+counts).items()))


def check_content(table: pa.Table, columns: Columns, facts: Facts) -> list[str]:
    """The problems in a part's rows: differences from its facts, invalid scores, wrong ranks.

    Raises:
        KeyError: a column is missing.

    """
    problems = []
    if table.num_rows != facts.rows:
        problems.append(f"{table.num_rows} rows, but the receipt has {facts.rows}")
    status = _flat(table, columns.status, columns.nested)
    found = Counter(status.to_pylist())
    expected = Counter({Status.SCORED.label: facts.scored} | facts.quarantined)
    if +found != +expected:
        problems.append(f"status: {_numbers(found)}, but the receipt has {_numbers(expected)}")
    scored = pc.equal(status, Status.SCORED.label).to_numpy(zero_copy_only=False)
    for name in (*columns.layers, columns.score):
        score = _flat(table, name, columns.nested)
        values = score.to_numpy(zero_copy_only=False)
        if not np.array_equal(score.is_valid().to_numpy(zero_copy_only=False), scored):
            problems.append(
                f"{name}: a score is missing, or a pair without status 'scored' has one"
            )
        elif not np.isfinite(values[scored]).all():
            problems.append(f"{name}: a score is NaN or infinite")
    if columns.normalized:
        normalized = _flat(table, columns.normalized, columns.nested)
        if not np.isfinite(normalized.to_numpy(zero_copy_only=False)[scored]).all():
            problems.append("a normalized score is NaN or infinite")
    if columns.rank and not problems:  # `values` are those of the score, which came last
        ranks = _flat(table, columns.rank, columns.nested).to_numpy(zero_copy_only=False)
        right = rank_within(_queries(table, columns), values.astype(np.float32))
        if not np.array_equal(ranks[scored], right[scored]):
            problems.append("ranks do not match the scores")
    return problems


def _flat(table: pa.Table, name: str, nested: bool) -> pa.Array:
    values = table.column(name).combine_chunks()
    return values.flatten() if nested else values


def _queries(table: pa.Table, columns: Columns) -> npt.NDArray[np.int64]:
    """An ascending number for each pair, equal for the pairs of one query."""
    if columns.nested:
        lists = table.column(columns.status).combine_chunks()
        return np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy())
    codes = numbers_of(table.column(columns.query_id))
    return np.cumsum(np.diff(codes, prepend=codes[:1]) != 0)
