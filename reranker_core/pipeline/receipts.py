"""Receipts on their way from the workers to the driver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from reranker_core.output.receipts import Receipt

if TYPE_CHECKING:  # workers need not load it for this
    from ray.data import Dataset


def packed(written: list[bytes], replica: str) -> pa.Table:
    """The receipts of parts, and who has scored them, as a block. The driver receives no more."""
    return pa.table(
        {
            "receipt": pa.array(written, pa.binary()),
            "replica": pa.array([replica] * len(written), pa.string()),
        }
    )


def received(blocks: Dataset) -> Iterator[tuple[Receipt, str]]:
    """The receipts in a stream of such blocks, as they come, with the names of the replicas."""
    # Nothing is fetched ahead: that takes threads, and holds receipts back.
    tables = blocks.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    for table in tables:
        columns = (table.column(name).to_pylist() for name in ("receipt", "replica"))
        for receipt, replica in zip(*columns, strict=True):
            yield Receipt.from_json(receipt), replica
