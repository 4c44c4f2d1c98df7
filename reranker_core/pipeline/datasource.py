"""Parts as a Ray Data source: each read task reads one part, or the slices of one row group."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
from ray.data import DataContext
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from reranker_core.input.plan import Part
from reranker_core.input.reading import read_parts
from reranker_core.pipeline.wire import row_of_table


class PartSource(Datasource):
    """The parts that are still to be done, in groups that are read in one pass."""

    def __init__(self, groups: list[list[Part]], columns: tuple[str, ...]) -> None:
        self._groups = groups
        self._columns = columns

    def get_name(self) -> str:
        """What Ray's dashboard calls the stage."""
        return "ReadParts"

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown before decoding."""
        return None

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """One task a group, whatever `parallelism` Ray would like: parts are what they are."""
        return [
            ReadTask(
                partial(_read, group, self._columns),
                BlockMetadata(
                    num_rows=len(group), size_bytes=None, input_files=None, exec_stats=None
                ),
            )
            for group in self._groups
        ]


def _read(parts: list[Part], columns: tuple[str, ...]) -> Iterator[pa.Table]:
    for part, table in read_parts(parts, columns):
        yield row_of_table(part, table)
