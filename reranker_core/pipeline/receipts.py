"""Receipts on their way from the workers to the driver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from reranker_core.output.receipts import Receipt

if TYPE_CHECKING:  # workers need not load it for this
    from ray.data import Dataset


def packed(written: list[bytes], replica: str) -> pa.Table:
    """The receipts of parts, and who has scored them, as one row: the driver receives no more, and
    would receive several rows one by one.
    """
    return pa.table(
        {
            "receipts": pa.array([written], pa.list_(pa.binary())),
            "replica": pa.array([replica], pa.string()),
        }
    )


def received(blocks: Dataset) -> Iterator[tuple[Receipt, str]]:
    """The receipts in a stream of such blocks, as they come, with the names of the replicas."""
    # Nothing is fetched ahead: that takes threads, and holds receipts back.
    tables = blocks.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    for table in tables:
        for row in table.to_pylist():
            for receipt in row["receipts"]:
                yield Receipt.from_json(receipt), row["replica"]
