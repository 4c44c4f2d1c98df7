"""How many replicas of which size a run asks Ray for."""

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
    """What a run asks Ray for.

    Attributes:
        min: replicas that are kept when there is little to do.
        fitting: replicas for which there is room when the run begins, and 1 if there is none.
        max: replicas that are asked for.
        num_cpus, num_gpus: what each takes.

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
        """Threads of a CPU forward."""
        return max(1, int(self.num_cpus))


def place(config: Config, parts: int, own: bool, nodes: list[dict[str, float]]) -> Placement:
    """Resolve `replicas` against what the cluster has.

    `replicas.max` is what the cluster may grow to: what does not fit now waits for nodes to join.

    Args:
        config: the run's.
        parts: how many there are to score.
        own: whether Ray is this process's own.
        nodes: what each living node offers, see `living_nodes`.

    Raises:
        ConfigError: the cluster cannot hold a single replica, nor is said to grow.

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
            "model.device=cuda, but a replica asks for no GPU; set replicas.num_gpus=1 and use a "
            "cluster that has GPUs, or starts nodes with GPUs on demand"
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
            "no node has a GPU yet: waiting for the first of up to %d replicas with %s, for "
            "guard.max_stall_seconds=%g at most",
            *(most, resources(num_cpus, num_gpus), config.guard.max_stall_seconds),
        )
    elif not fitting:
        advice = "Lower replicas.num_cpus or replicas.num_gpus, or use larger nodes"
        if awaited:
            advice = (
                "If nodes with GPUs are started on demand, set replicas.max: they are waited for"
            )
        raise ConfigError(
            f"no node of the cluster can hold a replica of {resources(num_cpus, num_gpus)} and "
            f"leave {resources(spare, 0)} for other stages; the largest node has "
            f"{resources(most_cpus, 0)}, all nodes together have {gpus:g} GPUs. {advice}"
        )
    elif own:  # no node will join
        most = min(most, fitting)
    elif not num_gpus and fitting < min(most, sum(_room(n, num_cpus, 0, 0) for n in nodes)):
        log.warning(
            "replicas.max=%d is lowered to %d: further replicas of %s would take the CPUs that "
            "reading and tokenizing need on the present nodes. If nodes will join, set "
            "replicas.num_cpus to what a node has, less %d",
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
