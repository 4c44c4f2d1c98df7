"""How a part travels between stages: as one row of a Ray block.

Its tables are Arrow IPC messages in binary columns. So Ray cannot divide, merge or convert a part,
whatever block sizes it chooses and whatever types and names the user's columns have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from reranker_core.encode.part import EncodedPart
from reranker_core.encode.sequences import TokenSequences
from reranker_core.input.plan import Part
from reranker_core.reuse.keys import PartKeys
from reranker_core.reuse.known import Known


def row_of_table(part: Part, table: pa.Table) -> pa.Table:
    """A part as it was read."""
    return _row(part, rows=table)


def table_of_row(row: dict[str, pa.Scalar]) -> tuple[Part, pa.Table]:
    """The inverse of `row_of_table`."""
    return _part(row), _unpack(row["rows"])


def row_of_encoded(part: Part, encoded: EncodedPart) -> pa.Table:
    """A part whose text has become token ids."""
    pairs = pa.table({"status": encoded.status, "distinct_of": encoded.distinct_of})
    return _row(
        part,
        rows=encoded.rows,
        per_row=_column(encoded.per_row),
        pairs=pairs,
        sequences=encoded.sequences.to_table(),
        distinct=encoded.sequences.pairs_to_table(),
        special_tokens=encoded.special_tokens,
        keys=_keys(encoded.keys),
        **_known(encoded.known),
    )


def encoded_of_row(row: dict[str, pa.Scalar]) -> tuple[Part, EncodedPart]:
    """The inverse of `row_of_encoded`."""
    pairs = _unpack(row["pairs"])
    encoded = EncodedPart(
        rows=_unpack(row["rows"]),
        per_row=_array(_unpack(row["per_row"])),
        status=pairs.column("status").to_numpy(),
        distinct_of=pairs.column("distinct_of").to_numpy(),
        sequences=TokenSequences.from_tables(_unpack(row["sequences"]), _unpack(row["distinct"])),
        special_tokens=row["special_tokens"].as_py(),
        keys=_part_keys(row["keys"]),
        known=_old_scores(row["known_of"], row["known"]),
    )
    return _part(row), encoded


def rows(block: pa.Table) -> Iterator[dict[str, pa.Scalar]]:
    """The parts of a block, without copying their tables."""
    for index in range(block.num_rows):
        yield {name: block.column(name)[index] for name in block.column_names}


def _row(part: Part, **values: Any) -> pa.Table:
    columns = {"part": pa.array([json.dumps(asdict(part))])}
    for name, value in values.items():
        if isinstance(value, pa.Table):
            columns[name] = pa.array([_pack(value)], pa.large_binary())
        elif isinstance(value, dict):
            columns[name] = pa.array([json.dumps(value)])
        else:
            columns[name] = pa.array([value])
    return pa.table(columns)


def _part(row: dict[str, pa.Scalar]) -> Part:
    return Part(**json.loads(row["part"].as_py()))


def _pack(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _unpack(value: pa.Scalar) -> pa.Table:
    return pa.ipc.open_stream(value.as_buffer()).read_all()


def _column(values: np.ndarray | None) -> pa.Table:
    return pa.table({} if values is None else {"values": values})


def _array(table: pa.Table) -> np.ndarray | None:
    return table.column("values").to_numpy() if table.column_names else None


def _keys(keys: PartKeys | None) -> pa.Table:
    return pa.table({}) if keys is None else keys.to_table()


def _part_keys(value: pa.Scalar) -> PartKeys | None:
    table = _unpack(value)
    return PartKeys.from_table(table) if table.column_names else None


def _known(known: Known | None) -> dict[str, pa.Table]:
    of, scores = (pa.table({}), pa.table({})) if known is None else known.to_tables()
    return {"known_of": of, "known": scores}


def _old_scores(of: pa.Scalar, scores: pa.Scalar) -> Known | None:
    table = _unpack(of)
    return Known.from_tables(table, _unpack(scores)) if table.column_names else None
