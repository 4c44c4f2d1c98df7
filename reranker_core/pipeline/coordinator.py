"""The one actor that outlives all workers: whether replicas agree, which rows and texts end
processes, and when a run is over.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from reranker_core.errors import ConfigError, Incomplete
from reranker_core.pipeline import code
from reranker_core.pipeline.logs import log_folder, no_worker_starts, startup_problem
from reranker_core.preflight.agreement import Agreement, Finding, Verdict
from reranker_core.score.poison import (
    COMMITTING,
    LOADING,
    READING,
    SCORING,
    TOKENIZING,
    Attempts,
    Caution,
)

log = logging.getLogger(__name__)

# Seconds to wait, from the first finding on, for the others of the replicas a run starts with.
_PATIENCE = 120.0
_POLL = 0.05
_ANSWER_SECONDS = 5.0
_STARTING_SECONDS, _LOOK_SECONDS = 300.0, 20.0
_CALLS = 100_000  # at once: each replica has one waiting for the end of the run


@dataclass(frozen=True)
class State:
    """Of a run's workers.

    Attributes:
        loading: number of replicas that are loading and checking the model.
        ready: number of replicas that are ready.
        troubles: messages about processes that have ended.

    """

    loading: int
    ready: int
    troubles: list[str]


class Coordinator:
    """Answers the workers of one run. Its methods are called one at a time."""

    def __init__(self, replicas: int, agreement_enforced: bool) -> None:
        self._agreement = Agreement(replicas, _PATIENCE, agreement_enforced, time.monotonic)
        works = (READING, TOKENIZING, LOADING, SCORING, COMMITTING)
        self._attempts = {work.name: Attempts(work) for work in works}
        self._loading: dict[str, str] = {}  # what a replica does, by its actor
        self._troubles: dict[str, str] = {}
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

    async def begin(self, work: str, part: str) -> Caution | None:
        """See `Attempts.begin`; `work` is the name of what is done with the part."""
        self._last_batch = time.monotonic()
        attempts = self._attempts[work]
        caution = attempts.begin(part)
        if caution is not None:
            self._troubles[f"{work} {part}"] = attempts.told(part)
        return caution

    async def announce(self, work: str, part: str, items: list[int]) -> None:
        """See `Attempts.announce`."""
        self._last_batch = time.monotonic()
        self._attempts[work].announce(part, items)

    async def finish(self, work: str, part: str) -> None:
        """See `Attempts.finish`."""
        self._attempts[work].finish(part)

    async def load(self, replica: str) -> None:
        """A replica begins to load the model; `replica` names it and its node.

        Raises:
            Incomplete: that has ended too many processes, and no replica has loaded it yet.

        """
        self._loading[replica] = "loading"
        try:
            await self.begin("load", replica)
        except Incomplete:
            if "ready" not in self._loading.values():
                raise

    async def loaded(self, replica: str) -> None:
        """A replica has loaded and checked the model."""
        self._loading[replica] = "ready"
        await self.finish("load", replica)

    async def code(self) -> tuple[str, str]:
        """Digest and folder of the code that this process has loaded."""
        return code.digest(), str(code.FOLDER)

    async def state(self) -> State:
        """What the user may want to know."""
        doing = list(self._loading.values())
        return State(doing.count("loading"), doing.count("ready"), list(self._troubles.values()))

    async def batch_done(self) -> None:
        """A replica has computed a batch."""
        self._last_batch = time.monotonic()

    async def silence(self) -> float:
        """Seconds since a worker last began or computed something."""
        return time.monotonic() - self._last_batch

    async def outliers(self) -> list[dict[str, str]]:
        """The replicas that were sent away, and why."""
        return self._agreement.outliers

    async def run_over(self) -> None:
        """Never returns; raises where it is awaited when the run is over."""
        await asyncio.Event().wait()


def silence_of(coordinator: Any) -> float:
    """Seconds since a worker last started or computed something; infinite if unknown."""
    try:
        return float(ray.get(coordinator.silence.remote(), timeout=_ANSWER_SECONDS))
    except RayError:
        return float("inf")


def ask(coordinator: Any, method: str, *values: Any) -> Any:
    """The answer of the coordinator. Raises its original errors without the wrapper of Ray."""
    return answer(getattr(coordinator, method).remote(*values))


def answer(asked: Any) -> Any:
    """The answer to an earlier call; errors as in `ask`."""
    try:
        return ray.get(asked)
    except RayTaskError as error:
        raise error.cause from None


@contextmanager
def coordinated(replicas: int, agreement_enforced: bool) -> Iterator[Any]:
    """A coordinator for the time of the `with` block, beside the driver, with which it dies."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(Coordinator).options(
        num_cpus=0, scheduling_strategy=here, max_concurrency=_CALLS
    )
    coordinator = actor.remote(replicas, agreement_enforced)
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
