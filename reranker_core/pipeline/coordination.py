"""The coordinator of a run as an actor on Ray."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import GetTimeoutError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from reranker_core.errors import ConfigError, Incomplete
from reranker_core.pipeline import code
from reranker_core.pipeline.coordinator import Coordinator
from reranker_core.pipeline.logs import log_folder, no_worker_starts, startup_problem
from reranker_core.preflight.fleet import Fleet

log = logging.getLogger(__name__)

_STARTING_SECONDS, _LOOK_SECONDS = 300.0, 20.0
_CALLS = 100_000  # at once: each replica has one waiting for the end of the run


@contextmanager
def coordinated(fleet: Fleet, agreement_enforced: bool) -> Iterator[Any]:
    """A coordinator for the time of the `with` block, beside the driver, with which it dies."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(Coordinator).options(
        num_cpus=0, scheduling_strategy=here, max_concurrency=_CALLS
    )
    coordinator = actor.remote(fleet, agreement_enforced)
    try:
        _wait_for(coordinator)
        yield coordinator
    finally:
        ray.kill(coordinator)


def _wait_for(coordinator: Any) -> None:
    """Until it answers; it is the first worker of a run.

    Raises:
        ConfigError: no worker can start, or it has other code than the driver.
        Incomplete: none has started after five minutes.

    """
    start, since = time.monotonic(), time.time()
    while (waited := time.monotonic() - start) < _STARTING_SECONDS:
        try:
            here, folder = ray.get(coordinator.code.remote(), timeout=_LOOK_SECONDS)
            code.require(code.digest(), here, folder)
            return
        except GetTimeoutError:
            problem = startup_problem(log_folder(), since)
        if problem and waited > _LOOK_SECONDS:
            raise ConfigError(no_worker_starts(problem))
        log.warning("no worker of Ray has started for %.0f s", time.monotonic() - start)
    raise Incomplete(
        f"no worker of Ray started within {_STARTING_SECONDS:g} s. Its logs are in {log_folder()}. "
        "Nothing was scored; run the same command again"
    )
