"""Asking the coordinator, in the processes of a run."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

_ANSWER_SECONDS = 5.0


def silence_of(coordinator: Any) -> float:
    """Seconds since a worker last started or computed something; infinite if unknown."""
    try:
        return float(ray.get(coordinator.silence.remote(), timeout=_ANSWER_SECONDS))
    except RayError:
        return float("inf")


def ask(coordinator: Any, method: str, *values: Any) -> Any:
    """The answer of the coordinator. Raises its original errors without the wrapper of Ray."""
    try:
        return ray.get(getattr(coordinator, method).remote(*values))
    except RayTaskError as error:
        raise error.cause from None


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
