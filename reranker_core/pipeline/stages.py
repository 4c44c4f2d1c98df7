"""The stages of a run on Ray Data: read and encode, then score and commit.

The driver spends its processor on tasks: for each one, Ray Data looks at all stages again. So a
part is two tasks, or three where a large row group is read for several parts. In runs of many
parts, a task reads or scores several.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import ray
from ray.data import Dataset, TaskPoolStrategy

from reranker_core.input.plan import Part, read_groups
from reranker_core.pipeline.datasource import PartSource
from reranker_core.pipeline.job import Job
from reranker_core.pipeline.placement import Placement
from reranker_core.pipeline.pool import pool
from reranker_core.pipeline.replica import Replica
from reranker_core.pipeline.tasks import Encoding, encode
from reranker_core.prepare import Prepared

_ANY_NUMBER = 1_000_000  # of tasks at once: as many as there are CPUs
# A replica that is given two parts at once may end later than others by one part. So this needs so
# many parts for each replica that it does not count.
_MANY_PARTS = 40
_READ_AT_ONCE, _SCORED_AT_ONCE = 4, 2


def stages(
    job: Job,
    prepared: Prepared,
    parts: tuple[Part, ...],
    placement: Placement,
    coordinator: Any,
) -> Dataset:
    """Receipts of the parts, as they are committed, with the names of the replicas.

    Args:
        job: the facts of the run.
        prepared: the plan and the pair format.
        parts: the parts to score.
        placement: number and resources of the replicas.
        coordinator: the coordinator of the run.

    """
    plan = prepared.plan
    groups = list(read_groups(parts, plan))
    # It may have megabytes, and is fetched once a process: in a list, where Ray leaves it alone.
    encoding = [ray.put(Encoding(job, prepared.pair_format, coordinator))]
    many = len(parts) >= _MANY_PARTS * placement.max
    # Parts that are read together are encoded by several processes.
    together = any(len(group) > 1 for group in groups)
    if many and not together:
        tasks = [groups[i : i + _READ_AT_ONCE] for i in range(0, len(groups), _READ_AT_ONCE)]
    else:
        tasks = [[group] for group in groups]
    then = None if together else partial(encode, encoding=encoding)
    source = PartSource(tasks, plan.schema.columns, coordinator, then)
    found = ray.data.read_datasource(source, override_num_blocks=len(tasks), num_cpus=1)
    if together:
        found = found.map_batches(
            encode,
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=1,
            fn_kwargs={"encoding": encoding},
            # Without a size, Ray runs this stage in the replicas where these have one CPU. There, a
            # text that ends the process that tokenizes it would end a replica.
            compute=TaskPoolStrategy(size=_ANY_NUMBER),
        )
    return found.map_batches(
        Replica,
        batch_size=_SCORED_AT_ONCE if many else 1,
        batch_format="pyarrow",
        fn_constructor_args=(job, placement.threads, coordinator),
        compute=pool(placement),
        **placement.options,
    )
