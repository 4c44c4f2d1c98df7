"""The one actor that outlives replicas: whether they agree, which rows end their processes, and
when a run is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from reranker_core.preflight.agreement import Agreement, Finding, Verdict
from reranker_core.score.poison import Attempts, Caution

# Seconds to wait, from the first finding on, for the others of the replicas a run starts with.
_PATIENCE = 120.0
_POLL = 0.05
_ANSWER_SECONDS = 5.0
_CALLS = 100_000  # at once: each replica has one waiting for the end of the run


class Coordinator:
    """Answers the replicas of one run. Its methods are called one at a time."""

    def __init__(self, replicas: int, agreement_enforced: bool) -> None:
        self._agreement = Agreement(replicas, _PATIENCE, agreement_enforced, time.monotonic)
        self._attempts = Attempts()
        self._last_batch = time.monotonic()

    async def admit(self, finding: Finding) -> Verdict:
        """Whether a replica may score, once enough others have reported."""
        self._agreement.add(finding)
        while (verdict := self._agreement.verdict(finding)) is None:
            await asyncio.sleep(_POLL)
        return verdict

    async def report(self, replica: str) -> dict[str, Any]:
        """What a replica's preflight measured."""
        return self._agreement.report(replica)

    async def begin(self, part: str) -> Caution | None:
        """See `Attempts.begin`."""
        return self._attempts.begin(part)

    async def announce(self, part: str, rows: list[int]) -> None:
        """See `Attempts.announce`."""
        self._attempts.announce(part, rows)

    async def finish(self, part: str) -> None:
        """See `Attempts.finish`."""
        self._attempts.finish(part)

    async def batch_done(self) -> None:
        """A replica is getting on with its part."""
        self._last_batch = time.monotonic()

    async def silence(self) -> float:
        """Seconds since a replica last said that it is getting on."""
        return time.monotonic() - self._last_batch

    async def outliers(self) -> list[dict[str, str]]:
        """The replicas that were sent away, and why."""
        return self._agreement.outliers

    async def run_over(self) -> None:
        """Never returns; raises where it is awaited when the run is over."""
        await asyncio.Event().wait()


def silence_of(coordinator: Any) -> float:
    """Seconds since a replica last got on, or for ever if nobody can tell."""
    try:
        return float(ray.get(coordinator.silence.remote(), timeout=_ANSWER_SECONDS))
    except RayError:
        return float("inf")


@contextmanager
def coordinated(replicas: int, agreement_enforced: bool) -> Iterator[Any]:
    """A coordinator for the time of the `with` block, beside the driver, with which it dies."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(Coordinator).options(
        num_cpus=0, scheduling_strategy=here, max_concurrency=_CALLS
    )
    coordinator = actor.remote(replicas, agreement_enforced)
    try:
        yield coordinator
    finally:
        ray.kill(coordinator)


def end_with(coordinator: ActorHandle) -> None:
    """Wait until the run is over, then end the actor that this is called in.

    Ray keeps an actor, and its GPU, while anything in the driver's process refers to it: after a
    failure, until garbage is collected there.
    """
    while True:
        try:
            ray.get(coordinator.run_over.remote())
        except ActorUnavailableError:
            time.sleep(1)
        except RayError:
            ray.kill(ray.get_runtime_context().current_actor)
            return
