"""The nodes of the cluster, and the number format of the run."""

from __future__ import annotations

import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from reranker_core.config import Config
from reranker_core.device import keep_order_of_sums, number_formats, resolve_device
from reranker_core.errors import Incomplete, brief, count
from reranker_core.pipeline.placement import Placement, resources, types

log = logging.getLogger(__name__)

_TOLD_EVERY = 60  # seconds, while waiting
# Asking a GPU for its number formats: how often, and how many seconds a process has that has
# started. It loads torch, perhaps from a slow disk.
_TRIES, _ANSWER_SECONDS = 3, 300.0
_WITHOUT_BFLOAT16 = {"K80", "P100", "P4", "T4", "V100"}  # in the names of Ray


def living_nodes() -> list[dict[str, float]]:
    """Resources of each current node, in the names of Ray. Needs a connection to Ray."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def hardware(nodes: list[dict[str, float]]) -> list[dict[str, float]]:
    """How many nodes have how many CPUs and GPUs, for records; `nodes` as of `living_nodes`."""
    kinds = Counter((node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
    return [
        {"nodes": number, "cpus": cpus, "gpus": gpus}
        for (cpus, gpus), number in kinds.most_common()
    ]


def describe(nodes: int, placement: Placement) -> str:
    """A description of the cluster, for messages about what a run of `placement` waits for.

    Args:
        nodes: number of nodes when the run started.
        placement: resources of its replicas.

    """
    free = ray.available_resources()
    return (
        f"the cluster has {count(len(living_nodes()), 'node')} ({nodes} when the run started); a "
        f"replica needs {resources(placement.num_cpus, placement.num_gpus)}; free: "
        f"{resources(free.get('CPU', 0), free.get('GPU', 0))}"
    )


def on_device(config: Config, placement: Placement) -> Config:
    """The configuration with the device that all replicas will use."""
    device = config.model.device
    if device == "auto":
        device = "cuda" if placement.num_gpus else "cpu"
    model = config.model.model_copy(update={"device": device})
    return config.model_copy(update={"model": model})


def possible_formats(config: Config, placement: Placement, own: bool) -> dict[str, str]:
    """The number formats to try, in this order, each with the reason; one if it is configured.

    The hardware decides, so a worker with the resources of a replica is asked, without loading the
    model: for each type of GPU, if replicas may use several. Whether a format suits the model is
    seen by the checks of all replicas. One faulty GPU must not end the run: others are asked. If
    none answers, all formats are tried.

    Raises:
        Incomplete: no worker could be asked.

    """
    dtype, device = config.model.dtype, config.model.device
    if dtype != "auto" or (own and device == "cpu"):
        return number_formats(dtype, device)
    answers = [_asked(options, config) for options in placement.of_each_type(living_nodes())]
    return {name: why for name, why in answers[0].items() if all(name in a for a in answers)}


def _asked(options: dict[str, Any], config: Config) -> dict[str, str]:
    """The number formats of a worker with these resources."""
    # Elsewhere at each try, as far as there are other nodes.
    ask = ray.remote(**options, max_retries=0, scheduling_strategy="SPREAD")(_formats)
    device, reproducible = config.model.device, config.score.reproducible
    longest = config.guard.max_stall_seconds
    try:
        return first_answer(lambda: _answer(ask.remote(device, reproducible), longest))
    except RayError as error:
        if device == "cpu":
            raise
        log.warning(
            "%d processes on GPUs did not say which number formats are fast (the last one: %s). "
            "Replicas try all formats",
            *(_TRIES, _cause(error)),
        )
        return untold_formats(types(living_nodes()))


def first_answer(ask: Callable[[], dict[str, str]]) -> dict[str, str]:
    """The answer of the first of three tries that does not fail.

    Raises:
        RayError: the last try failed, too.

    """
    for _ in range(_TRIES - 1):
        try:
            return ask()
        except RayError as error:
            log.warning("asking for the number formats failed (%s); trying again", _cause(error))
    return ask()


def untold_formats(kinds: list[str]) -> dict[str, str]:
    """The number formats of GPUs of these types, if no GPU answers."""
    found = dict.fromkeys(("bfloat16", "float16", "float32"), "no GPU said which formats are fast")
    if set(kinds) & _WITHOUT_BFLOAT16:  # they would emulate it slowly
        del found["bfloat16"]
    return found


def _cause(error: RayError) -> str:
    return brief(getattr(error, "cause", None) or error)


def _answer(asked: Any, longest: float) -> Any:
    """What a task gives that first tells that it has started.

    Raises:
        Incomplete: it did not start within `longest` seconds.
        GetTimeoutError: it started, but did not answer.

    """
    for waited in itertools.count(_TOLD_EVERY, _TOLD_EVERY):
        ready, _ = ray.wait([asked], timeout=_TOLD_EVERY)
        if ready:
            break
        if waited >= longest:
            ray.cancel(asked, force=True)
            raise Incomplete(
                f"stalled: no node had free resources for a replica for {waited} s "
                f"(guard.max_stall_seconds={longest:g}). Free GPUs, add nodes, or raise the limit. "
                "Then run the same command again"
            )
        log.warning("no node has had free resources for a replica for %d s", waited)
    node = ray.get(next(asked))
    ready, _ = ray.wait([asked], timeout=_ANSWER_SECONDS)
    if not ready:
        ray.cancel(asked, force=True)
        raise GetTimeoutError(
            f"a process on {node} started, but did not answer within {_ANSWER_SECONDS:g} s"
        )
    return ray.get(next(asked))


def _formats(device: str, reproducible: bool) -> Iterator[Any]:
    """The name of the node, at once; then its number formats."""
    yield os.uname().nodename
    if reproducible:  # Ray may make a replica of this process
        keep_order_of_sums()
    yield number_formats("auto", resolve_device(device))
