"""Parts as a Ray Data source: what each read task reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pyarrow as pa
from ray.actor import ActorHandle
from ray.data import DataContext
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from reranker_core.errors import rows_text
from reranker_core.errors.redaction import without_credentials
from reranker_core.input.plan import Part
from reranker_core.input.reading import read_parts
from reranker_core.pipeline.asking import ask
from reranker_core.pipeline.wire import row_of_table


class PartSource(Datasource):
    """The remaining parts.

    Args:
        tasks: for each read task, groups of parts that are read in one pass.
        columns: the columns to read.
        coordinator: the coordinator of the run.
        then: what the read tasks do with each part that they have read.

    """

    def __init__(
        self,
        tasks: list[list[list[Part]]],
        columns: tuple[str, ...],
        coordinator: ActorHandle,
        then: Callable[[pa.Table], pa.Table] | None = None,
    ) -> None:
        self._tasks = tasks
        self._columns = columns
        self._coordinator = coordinator
        self._then = then

    def get_name(self) -> str:
        """The name of the stage in Ray's dashboard."""
        return "Parts"  # Ray puts "Read" before it

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown before decoding."""
        return None

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """The tasks. The `parallelism` that Ray requests is ignored."""
        return [
            ReadTask(
                partial(_read, groups, self._columns, self._coordinator, self._then),
                BlockMetadata(
                    num_rows=sum(map(len, groups)),
                    size_bytes=None,
                    input_files=None,
                    exec_stats=None,
                ),
            )
            for groups in self._tasks
        ]


def _read(
    groups: list[list[Part]],
    columns: tuple[str, ...],
    coordinator: ActorHandle,
    then: Callable[[pa.Table], pa.Table] | None,
) -> Iterator[pa.Table]:
    """The parts as rows. The coordinator knows which part is being read, should that end the
    process.
    """
    for parts in groups:
        tables = read_parts(parts, columns)
        for part in parts:
            shard = without_credentials(part.shard)
            name = f"{part.name} ({rows_text(part.start, part.stop)} of {shard})"
            ask(coordinator, "begin", "read", name)
            row = row_of_table(*next(tables))
            ask(coordinator, "finish", "read", name)
            yield row if then is None else then(row)
