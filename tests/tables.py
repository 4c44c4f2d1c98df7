"""Small Parquet shards, flat and nested, and configurations that point at them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.config import Config, load_config


def flat(rows: int = 6, per_query: int = 2, first: int = 0, **more: Any) -> pa.Table:
    """A row a pair, `per_query` adjacent rows a query; `more` replaces or adds columns."""
    numbers = range(first, first + rows)
    columns = {
        "query_id": [f"q{i // per_query}" for i in numbers],
        "query": [f"what is number {i // per_query}" for i in numbers],
        "doc_id": [f"d{i}" for i in numbers],
        "passage": [f"passage {i} of many" for i in numbers],
    }
    return pa.table(columns | more)


def nested(counts: list[int], **more: Any) -> pa.Table:
    """A row a query with `counts[row]` candidates in parallel lists."""
    columns = {
        "query_id": [f"q{row}" for row in range(len(counts))],
        "query": [f"what is number {row}" for row in range(len(counts))],
        "doc_id": pa.array(
            [[f"d{row}.{i}" for i in range(count)] for row, count in enumerate(counts)],
            pa.list_(pa.string()),
        ),
        "passage": pa.array(
            [[f"passage {row}.{i}" for i in range(count)] for row, count in enumerate(counts)],
            pa.list_(pa.string()),
        ),
    }
    return pa.table(columns | more)


def structs(counts: list[int]) -> pa.Table:
    """A row a query with its candidates in one list of structs `candidates`."""
    rows = [
        [
            {"doc_id": f"d{row}.{i}", "passage": f"passage {row}.{i}", "year": 2000 + i}
            for i in range(count)
        ]
        for row, count in enumerate(counts)
    ]
    kind = pa.list_(
        pa.struct([("doc_id", pa.string()), ("passage", pa.string()), ("year", pa.int64())])
    )
    plain = nested(counts).select(["query_id", "query"])
    return plain.append_column("candidates", pa.array(rows, kind))


STRUCT_COLUMNS = (
    "input.columns.doc_id=candidates.doc_id",
    "input.columns.passage=candidates.passage",
)


def write(path: Path, table: pa.Table, row_group_size: int | None = None) -> Path:
    """`table` as a Parquet file, in folders made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def config(
    source: Path | str | list[Path], output: Path | str, *overrides: str, model: Path | None = None
) -> Config:
    """The configuration that reads `source` and writes to `output`."""
    path = [str(entry) for entry in source] if isinstance(source, list) else str(source)
    return load_config(
        None,
        [
            f"input.path={json.dumps(path)}",
            f"output.path={json.dumps(str(output))}",
            f"model.path={json.dumps(str(model or 'none'))}",
            *overrides,
        ],
    )
