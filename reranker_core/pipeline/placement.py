"""Number and resources of the replicas of a run."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from reranker_core.config import Config
from reranker_core.errors import ConfigError

log = logging.getLogger(__name__)

# Extra slots of an own Ray beside a CPU forward that has all cores: reading, tokenizing and
# committing then run in between, instead of waiting for a core of their own.
TASK_SLOTS = 2


@dataclass(frozen=True)
class Placement:
    """The resources that a run requests from Ray.

    Attributes:
        min: number of replicas that are always kept.
        fitting: number of replicas that fit when the run starts; at least 1.
        max: number of replicas that are requested.
        num_cpus, num_gpus: resources of each replica.

    """

    min: int
    fitting: int
    max: int
    num_cpus: float
    num_gpus: float

    def __str__(self) -> str:
        noun = "replica" if self.max == 1 else "replicas"
        return f"{self.max} {noun} with {resources(self.num_cpus, self.num_gpus)}"

    @property
    def threads(self) -> int:
        """Number of threads of a forward pass on a CPU."""
        return max(1, int(self.num_cpus))


def place(config: Config, parts: int, own: bool, nodes: list[dict[str, float]]) -> Placement:
    """Choose the replicas for the resources of the cluster.

    The cluster may grow to `replicas.max`: replicas that do not fit now wait for new nodes.

    Args:
        config: the configuration of the run.
        parts: number of parts to score.
        own: whether this process has started Ray.
        nodes: resources of each node, see `living_nodes`.

    Raises:
        ConfigError: the cluster has no room for a replica, and `replicas.max` does not let it grow.

    """
    wanted, device = config.replicas, config.model.device
    gpus = sum(node.get("GPU", 0) for node in nodes)
    most_cpus = max(node.get("CPU", 0) for node in nodes)
    num_gpus = wanted.num_gpus
    if num_gpus is None:
        num_gpus = 1 if gpus and device != "cpu" else 0
        if device == "auto" and not gpus and not own:
            _tell_of_cpus(len(nodes))
    if device == "cuda" and not num_gpus:
        raise ConfigError(
            "model.device=cuda, but replicas have no GPU. Set replicas.num_gpus=1 and use a "
            "cluster that has GPUs or starts nodes with GPUs on demand"
        )
    # Reading, tokenizing and committing must always find a free core.
    spare = TASK_SLOTS if own else 1
    num_cpus = wanted.num_cpus
    if num_cpus is None and num_gpus:
        free = sum(max(node.get("CPU", 0) - spare, 0) for node in nodes)
        num_cpus = min(1, free / gpus) if gpus else 1
    elif num_cpus is None:
        num_cpus = max(1, most_cpus - spare)
    fitting = sum(_room(node, num_cpus, num_gpus, spare) for node in nodes)
    most = wanted.max or fitting
    awaited = num_gpus and not gpus and not own  # nodes with GPUs may be started on demand
    if not fitting and awaited and wanted.max:
        log.warning(
            "no node has a GPU yet: waiting for the first of up to %d replicas with %s, for at "
            "most %g s (guard.max_stall_seconds)",
            *(most, resources(num_cpus, num_gpus), config.guard.max_stall_seconds),
        )
    elif not fitting:
        advice = "Lower replicas.num_cpus or replicas.num_gpus, or use larger nodes"
        if awaited:
            advice = (
                "If nodes with GPUs are started on demand, set replicas.max. Then the run waits "
                "for them"
            )
        raise ConfigError(
            f"no node of the cluster has room for a replica with {resources(num_cpus, num_gpus)} "
            f"and {resources(spare, 0)} for other stages; the largest node has "
            f"{resources(most_cpus, 0)}, all nodes together have {gpus:g} GPUs. {advice}"
        )
    elif own:  # no node will join
        most = min(most, fitting)
    elif not num_gpus and fitting < min(most, sum(_room(n, num_cpus, 0, 0) for n in nodes)):
        log.warning(
            "replicas.max=%d is lowered to %d: more replicas with %s would take the CPUs that "
            "reading and tokenizing need on the current nodes. If nodes will join, set "
            "replicas.num_cpus to the CPUs of a node minus %d",
            *(most, fitting, resources(num_cpus, 0), spare),
        )
        most = fitting
    most = max(1, min(most, parts))
    fitting = min(most, max(fitting, 1))
    return Placement(min(wanted.min or 1, fitting), fitting, most, num_cpus, num_gpus)


def resources(cpus: float, gpus: float) -> str:
    """`1 CPU`, `2 CPUs and 1 GPU`."""
    texts = [
        f"{number:g} {noun}{'' if number == 1 else 's'}"
        for number, noun in ((cpus, "CPU"), (gpus, "GPU"))
        if number or noun == "CPU"
    ]
    return " and ".join(texts)


def _room(node: dict[str, float], num_cpus: float, num_gpus: float, spare: int) -> int:
    """How many replicas a node holds and still has `spare` CPUs."""
    limits = [node.get("GPU", 0) / num_gpus] if num_gpus else []
    limits += [max(node.get("CPU", 0) - spare, 0) / num_cpus] if num_cpus else []
    return int(min(limits))


def _tell_of_cpus(nodes: int) -> None:
    # A single machine without a GPU is no surprise, a cluster is.
    log.log(
        logging.WARNING if nodes > 1 else logging.INFO,
        "model.device=auto: no node has a GPU (nodes: %d), so the model runs on CPUs. If you want "
        "that, set model.device=cpu. If nodes with GPUs are started on demand, set "
        "replicas.num_gpus and replicas.max",
        nodes,
    )
