"""The nodes of the cluster, and the number format of the run."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from typing import Any

import ray

from reranker_core.config import Config
from reranker_core.device import keep_order_of_sums, number_formats, resolve_device
from reranker_core.errors import Incomplete, count
from reranker_core.pipeline.placement import Placement, resources

log = logging.getLogger(__name__)

_TOLD_EVERY = 60  # seconds, while waiting


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
    seen by the checks of all replicas.

    Raises:
        Incomplete: no worker could be asked.

    """
    dtype, device = config.model.dtype, config.model.device
    if dtype != "auto" or (own and device == "cpu"):
        return number_formats(dtype, device)
    longest = config.guard.max_stall_seconds
    answers: list[dict[str, str]] = []
    for options in placement.of_each_type(living_nodes()):
        ask = ray.remote(**options)(_formats)
        answers.append(_answer(ask.remote(device, config.score.reproducible), longest))
    return {name: why for name, why in answers[0].items() if all(name in a for a in answers)}


def _answer(asked: Any, longest: float) -> Any:
    """What a task gives, waited for in words.

    Raises:
        Incomplete: it did not come to run within `longest` seconds.

    """
    for waited in itertools.count(_TOLD_EVERY, _TOLD_EVERY):
        ready, _ = ray.wait([asked], timeout=_TOLD_EVERY)
        if ready:
            return ray.get(asked)
        if waited >= longest:
            ray.cancel(asked, force=True)
            raise Incomplete(
                f"stalled: no node had free resources for a replica for {waited} s "
                f"(guard.max_stall_seconds={longest:g}). Free GPUs, add nodes, or raise the limit. "
                "Then run the same command again"
            )
        log.warning("no node has had free resources for a replica for %d s", waited)


def _formats(device: str, reproducible: bool) -> dict[str, str]:
    if reproducible:  # Ray may make a replica of this process
        keep_order_of_sums()
    return number_formats("auto", resolve_device(device))
