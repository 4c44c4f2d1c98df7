"""A scored part: its rows with the score columns, and its quarantined pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reranker_core.config import ModelConfig, OutputConfig
from reranker_core.encode.part import EncodedPart
from reranker_core.encode.passages import combine
from reranker_core.errors import InputError
from reranker_core.input.pairs import Status
from reranker_core.input.schema import InputSchema
from reranker_core.input.types.ids import numbers_of
from reranker_core.models.scores import Scores
from reranker_core.reuse.keys import PartKeys


@dataclass(frozen=True)
class ScoredPart:
    """The results of a part for each pair, without text.

    Attributes:
        rows: the columns that are carried to the output.
        per_row: candidates of each row; None for flat parts.
        status: final `pairs.Status` of each pair, shape (P,).
        score: float32, NaN if status is not SCORED, shape (P,).
        rescued: sequences whose score had to be computed again in float32.
        lost: tokens that were cut from each pair, shape (P,).
        chunks: sequences that each pair was scored in; 0 for unscored pairs, shape (P,).
        layers: scores of the lower cutoff layers, by layer; each like `score`.
        keys: of its distinct pairs; None if they are not kept.
        reuse: `Known.facts` of its old scores; empty without.

    """

    rows: pa.Table
    per_row: npt.NDArray[np.int64] | None
    status: npt.NDArray[np.int8]
    score: npt.NDArray[np.float32]
    rescued: int
    lost: npt.NDArray[np.int32] | None = None
    chunks: npt.NDArray[np.int32] | None = None
    layers: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)
    keys: PartKeys | None = None
    reuse: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, part: EncodedPart, scores: Scores, model: ModelConfig) -> ScoredPart:
        """Combine scores of sequences to scores of distinct pairs; copy these to all pairs, and
        old scores to the pairs that have one.

        Raises:
            ReuseRefused: a score that was computed again differs from the old one.

        """
        sequences = part.sequences
        values = combine(scores.values, sequences.chunks, model)
        pair_of = np.repeat(np.arange(len(sequences.chunks)), sequences.chunks)
        fatal = pair_of[scores.fatal]
        computed, old = part.distinct_of >= 0, part.known
        lower = model.cutoff_layers[:-1]
        by_layer = np.full((len(lower) + 1, len(computed)), np.nan, np.float32)
        by_layer[:, computed] = values[part.distinct_of[computed]].T
        score, status = by_layer[-1], part.status.copy()
        status[computed & np.isnan(score)] = Status.NOT_FINITE
        status[computed & np.isin(part.distinct_of, fatal)] = Status.ENDS_PROCESS
        lost, chunks = np.zeros((2, len(status)), np.int32)
        lost[computed] = sequences.lost[part.distinct_of[computed]]
        chunks[computed] = sequences.chunks[part.distinct_of[computed]]
        if old is not None:
            old.require_same(by_layer, computed)
            pairs, of = old.places
            by_layer[:, pairs] = old.scores[of].T
            lost[pairs], chunks[pairs] = old.lost[of], old.chunks[of]
            status[pairs] = Status.SCORED
        return cls(
            part.rows,
            part.per_row,
            status,
            score,
            scores.rescued,
            lost,
            chunks,
            dict(zip(lower, by_layer, strict=False)),
            part.keys,
            {} if old is None else old.facts,
        )


def output_table(
    part: ScoredPart, schema: InputSchema, output: OutputConfig, temperature: float = 1.0
) -> pa.Table:
    """The part's rows in input order, with the score columns (lists for nested parts).

    `temperature` is the divisor of raw scores before normalization.

    Raises:
        InputError: ranks are requested, but the rows of a query are not adjacent.

    """
    names = output.columns
    table = part.rows
    null = part.status != Status.SCORED
    columns = {names.score: pa.array(part.score, mask=null)}
    for layer, values in part.layers.items():
        columns[names.of_layer(layer)] = pa.array(values, mask=null)
    if output.normalize == "sigmoid":
        # In float64: in float32 all scores above about 17 would become the same 1.0.
        with np.errstate(over="ignore"):  # far below zero: 1 / inf is the 0.0 it should be
            sigmoid = 1 / (1 + np.exp(-part.score.astype(np.float64) / temperature))
        columns[names.normalized] = pa.array(sigmoid, mask=null)
    if output.rank:
        groups = query_of_pair(part.rows, part.per_row, schema)
        columns[names.rank] = pa.array(rank_within(groups, part.score), mask=null)
    if output.label_thresholds:
        label = np.searchsorted(np.sort(output.label_thresholds), part.score, side="right")
        columns[names.label] = pa.array(label.astype(np.int32), mask=null)
    if output.tokens_lost:
        columns[names.tokens_lost] = pa.array(part.lost, mask=null)
    if output.chunks:
        columns[names.chunks] = pa.array(part.chunks, mask=null)
    labels = [status.label for status in Status]
    columns[names.status] = pa.array(np.asarray(labels, object)[part.status], pa.string())
    for name, values in columns.items():
        table = table.append_column(name, _as_lists(values, part.per_row))
    return table


def rank_within(
    groups: npt.NDArray[np.int64], score: npt.NDArray[np.float32]
) -> npt.NDArray[np.int32]:
    """Ranks from 1 within each group by descending score; ties keep the input's order, and pairs
    without a score come last. `groups` is ascending.
    """
    order = np.lexsort((np.arange(len(score)), np.where(np.isnan(score), np.inf, -score), groups))
    first = np.searchsorted(groups, groups[order])
    ranks = np.empty(len(score), np.int32)
    ranks[order] = np.arange(len(score)) - first + 1
    return ranks


def quarantined(part: ScoredPart, schema: InputSchema, first_row: int) -> list[dict[str, Any]]:
    """One record for each pair without a score: its position in the shard, its ids, the reason."""
    bad = np.flatnonzero(part.status != Status.SCORED)
    if not len(bad):
        return []
    row_of, candidate_of = _positions(part)
    query_ids = part.rows.column(schema.query_id)
    doc_ids = part.rows.column(schema.doc_id.column)
    records = []
    for pair in bad:
        row, candidate = int(row_of[pair]), int(candidate_of[pair])
        doc_id = doc_ids[row]
        if schema.nested:
            listed = doc_id.values if doc_id.is_valid else ()
            doc_id = listed[candidate] if candidate < len(listed) else None
            if schema.doc_id.member and doc_id is not None:
                doc_id = doc_id[schema.doc_id.member]
        records.append(
            {
                "row": first_row + row,
                "candidate": candidate if schema.nested else None,
                "query_id": _readable(query_ids[row]),
                "doc_id": _readable(doc_id),
                "reason": Status(int(part.status[pair])).label,
            }
        )
    return records


def _readable(value: pa.Scalar | None) -> Any:
    if value is None:
        return None
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return value.as_buffer().to_pybytes().decode("utf-8", errors="replace")
    except (ValueError, OverflowError):  # dates and times that Python has not
        return value.cast(pa.string()).as_py()


def _positions(part: ScoredPart) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row of each pair, and which candidate of that row it is."""
    pairs = np.arange(len(part.status))
    if part.per_row is None:
        return pairs, np.zeros_like(pairs)
    rows = np.repeat(np.arange(len(part.per_row)), part.per_row)
    return rows, pairs - np.repeat(np.cumsum(part.per_row) - part.per_row, part.per_row)


def query_of_pair(
    rows: pa.Table, per_row: npt.NDArray[np.int64] | None, schema: InputSchema
) -> npt.NDArray[np.int64]:
    """An ascending number for each pair, equal for the pairs of one query.

    Raises:
        InputError: the rows of a query are not adjacent.

    """
    if per_row is not None:
        return np.repeat(np.arange(len(per_row)), per_row)
    codes = numbers_of(rows.column(schema.query_id))
    starts = np.flatnonzero(np.diff(codes, prepend=codes[0] - 1 if len(codes) else 0))
    if len(starts) > len(np.unique(codes)):
        raise InputError(
            "output.rank=true, but the rows of a query are not adjacent in a part. Ranks need "
            f"all candidates of a query in adjacent rows. Sort the shard by '{schema.query_id}', "
            "or set output.rank=false"
        )
    groups = np.zeros(len(codes), np.int64)
    groups[starts[1:]] = 1
    return np.cumsum(groups)


def _as_lists(values: pa.Array, per_row: npt.NDArray[np.int64] | None) -> pa.Array:
    if per_row is None:
        return values
    offsets = np.concatenate([[0], np.cumsum(per_row)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
