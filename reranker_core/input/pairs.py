"""From the rows of a part to its pairs, and which of them cannot be scored.

Parquet does not check whether texts are valid UTF-8. So texts are handled as bytes until this is
known. Then a row with an invalid text does not prevent the scoring of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reranker_core.input.schema import Field, InputSchema
from reranker_core.input.types.conversion import combined, list_lengths

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


class Status(IntEnum):
    """The result of a pair. `SCORED`: it has a score. All others: it is in the quarantine."""

    SCORED = 0
    NULL_QUERY = 1
    NULL_PASSAGE = 2
    INVALID_UTF8 = 3
    MISALIGNED_CANDIDATES = 4  # the row's candidate lists differ in length
    NOT_FINITE = 5  # NaN or Inf, also in float32
    ENDS_PROCESS = 6  # the process that tokenizes or scores it ends, or hangs

    @property
    def label(self) -> str:
        """The status as it stands in the output."""
        return self.name.lower()


@dataclass(frozen=True)
class Pairs:
    """The P pairs of a part, in the order of its rows and of the candidates within a row.

    Attributes:
        per_row: number of candidates of each row, shape (rows,); None for flat input.
        status: SCORED if the pair can be scored, otherwise the reason, shape (P,).
        queries: the part's distinct query texts.
        passages: the part's distinct passage texts.
        query_of: index into `queries` of each distinct pair, shape (D,).
        passage_of: index into `passages` of each distinct pair, shape (D,).
        distinct_of: index of the distinct pair of each pair; -1 if it cannot be scored; shape (P,).
        instructions: the instruction of each query, None for the configured one; None if the input
            has no such column.

    """

    per_row: Int64s | None
    status: npt.NDArray[np.int8]
    queries: list[str]
    passages: list[str]
    query_of: Int64s
    passage_of: Int64s
    distinct_of: Int32s
    instructions: list[str | None] | None = None

    @property
    def characters(self) -> int:
        """Number of characters of all distinct pairs; a text counts once for each of its pairs."""
        query, passage = (
            np.array([len(text) for text in texts], np.int64)
            for texts in (self.queries, self.passages)
        )
        return int(query[self.query_of].sum() + passage[self.passage_of].sum())

    def only(self, chosen: npt.NDArray[np.bool_]) -> Pairs:
        """The same pairs, of which only the `chosen` distinct ones are left to be scored, and only
        their texts; `chosen` has the shape (D,).
        """
        number = np.full(len(chosen) + 1, -1, np.int32)  # the last is for pairs without one
        number[:-1][chosen] = np.arange(chosen.sum())
        queries, query_of = np.unique(self.query_of[chosen], return_inverse=True)
        passages, passage_of = np.unique(self.passage_of[chosen], return_inverse=True)
        own = self.instructions
        return replace(
            self,
            queries=[self.queries[index] for index in queries],
            passages=[self.passages[index] for index in passages],
            query_of=query_of.astype(np.int64),
            passage_of=passage_of.astype(np.int64),
            distinct_of=number[self.distinct_of],
            instructions=own and [own[index] for index in queries],
        )


def find_pairs(table: pa.Table, schema: InputSchema) -> Pairs:
    """Find the pairs of a part, and the distinct pairs among them."""
    query = _distinct(column_of(table, schema.query))
    instructions: list[str | None] | None = None
    if schema.instruction is not None:
        query, instructions = _instructed(query, _distinct(column_of(table, schema.instruction)))
    per_row, flat_passages, misaligned = candidates(table, schema)
    row_of = (
        np.arange(table.num_rows)
        if per_row is None
        else np.repeat(np.arange(table.num_rows), per_row)
    )
    passage = _distinct(flat_passages)
    query_code = query.codes[row_of]
    passage_code = passage.codes

    # Later rules win, so the list goes from the most general reason to the most specific one.
    status = np.zeros(len(row_of), np.int8)
    status[passage_code == _NULL] = Status.NULL_PASSAGE
    status[query_code == _NULL] = Status.NULL_QUERY
    status[(query_code == _INVALID) | (passage_code == _INVALID)] = Status.INVALID_UTF8
    if misaligned is not None:
        status[misaligned[row_of]] = Status.MISALIGNED_CANDIDATES

    scorable = status == Status.SCORED
    key = query_code[scorable] * max(len(passage.texts), 1) + passage_code[scorable]
    distinct, inverse = np.unique(key, return_inverse=True)
    distinct_of = np.full(len(status), -1, np.int32)
    distinct_of[scorable] = inverse
    query_of, passage_of = np.divmod(distinct, max(len(passage.texts), 1))
    return Pairs(
        per_row,
        status,
        query.texts,
        passage.texts,
        query_of,
        passage_of,
        distinct_of,
        instructions,
    )


def candidates(
    table: pa.Table, schema: InputSchema
) -> tuple[Int64s | None, pa.Array, npt.NDArray[np.bool_] | None]:
    """The candidates of a part.

    Returns:
        Number of candidates per row (None for flat input); all passages, concatenated; and which
        rows have lists of different lengths. Such a row counts with its longest list, and all its
        candidates are null.

    """
    if not schema.nested:
        return None, column_of(table, schema.passage.column), None
    passages = column_of(table, schema.passage.column)
    lengths = list_lengths(passages)
    flat = list_values(passages, schema.passage)
    if schema.doc_id.column == schema.passage.column:
        return lengths, flat, None
    other = list_lengths(column_of(table, schema.doc_id.column))
    misaligned = lengths != other
    if not misaligned.any():
        return lengths, flat, None
    per_row = np.maximum(lengths, other)
    slots_before = np.repeat(np.cumsum(per_row) - per_row, lengths)
    values_before = np.repeat(np.cumsum(lengths) - lengths, lengths)
    take = np.full(per_row.sum(), -1, np.int64)
    take[slots_before + np.arange(len(flat)) - values_before] = np.arange(len(flat))
    return per_row, flat.take(pa.array(take, mask=take < 0)), misaligned


def list_values(lists: pa.Array, field: Field) -> pa.Array:
    """The concatenated values of a list column, or of one field of its structs."""
    values = lists.flatten()
    values = pc.struct_field(values, field.member) if field.member else values
    # Arrow can take no values from views.
    return values.cast(pa.large_string()) if pa.types.is_string_view(values.type) else values


_NULL, _INVALID = -1, -2


@dataclass(frozen=True)
class _Distinct:
    codes: Int64s  # index into texts, _NULL, or _INVALID
    texts: list[str]


def _distinct(array: pa.Array) -> _Distinct:
    if pa.types.is_dictionary(array.type):
        # Not decoded: a few long texts may stand in many rows.
        entries = _distinct(array.dictionary)
        indices = array.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return _Distinct(np.append(entries.codes, _NULL)[indices], entries.texts)
    encoded = array.cast(pa.large_binary()).dictionary_encode()
    codes = encoded.indices.fill_null(_NULL).to_numpy(zero_copy_only=False).astype(np.int64)
    try:
        return _Distinct(codes, encoded.dictionary.cast(pa.large_string()).to_pylist())
    except pa.ArrowInvalid:
        pass
    renumber = np.full(len(encoded.dictionary) + 1, _NULL, np.int64)  # the last is for _NULL
    texts: list[str] = []
    for index, value in enumerate(encoded.dictionary.to_pylist()):
        try:
            texts.append(value.decode("utf-8"))
            renumber[index] = len(texts) - 1
        except UnicodeDecodeError:
            renumber[index] = _INVALID
    return _Distinct(renumber[codes], texts)


def _instructed(query: _Distinct, instruction: _Distinct) -> tuple[_Distinct, list[str | None]]:
    """Queries that are distinct with their instructions, and these."""
    codes = np.where(instruction.codes == _INVALID, _INVALID, query.codes)
    known = codes >= 0
    width = len(instruction.texts) + 1
    key = codes[known] * width + instruction.codes[known] + 1  # null is -1
    distinct, inverse = np.unique(key, return_inverse=True)
    codes[known] = inverse
    own = [None, *instruction.texts]
    texts = [query.texts[i] for i in distinct // width]
    return _Distinct(codes, texts), [own[i] for i in distinct % width]


def column_of(table: pa.Table, name: str) -> pa.Array:
    """A column as one array."""
    return combined(table.column(name))
