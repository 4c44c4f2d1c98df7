"""Number and resources of the replicas of a run."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

from reranker_core.config import Config
from reranker_core.errors import ConfigError

log = logging.getLogger(__name__)

# Extra slots of an own Ray beside a CPU forward that has all cores: reading and tokenizing then run
# in between, instead of waiting for a core of their own.
TASK_SLOTS = 2
# Of a replica whose node is not known yet: it uses its CPU to start kernels and to fill batches.
_CPUS_BESIDE_A_GPU = 0.5
_TYPE, _ANY = "accelerator_type:", "any"


@dataclass(frozen=True)
class Placement:
    """The resources that a run requests from Ray.

    Attributes:
        min: number of replicas that are always kept.
        fitting: number of replicas that fit when the run starts; 0 if their nodes come later.
        max: number of replicas that are requested.
        num_cpus, num_gpus: resources of each replica.
        accelerator_type: of their GPUs; None for those that are there, `any` for all.

    """

    min: int
    fitting: int
    max: int
    num_cpus: float
    num_gpus: float
    accelerator_type: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The resources of a replica, as Ray's options."""
        chosen = self.accelerator_type not in (None, _ANY)
        return {
            "num_cpus": self.num_cpus,
            "num_gpus": self.num_gpus,
            "accelerator_type": self.accelerator_type if chosen else None,
        }

    def of_each_type(self, nodes: list[dict[str, float]]) -> list[dict[str, Any]]:
        """`options` for each type of GPU that replicas may use on these nodes."""
        if self.accelerator_type != _ANY:
            return [self.options]
        found = [{**self.options, "accelerator_type": kind} for kind in types(nodes)]
        return found or [self.options]

    def __str__(self) -> str:
        noun = "replica" if self.max == 1 else "replicas"
        return f"{self.max} {noun} with {resources(self.num_cpus, self.num_gpus)}"

    def at_most(self, replicas: int) -> Placement:
        """The same with fewer replicas."""
        fewer = {name: min(getattr(self, name), replicas) for name in ("min", "fitting", "max")}
        return replace(self, **fewer)

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
        ConfigError: the cluster has no room for a replica, and `replicas.max` does not let it grow;
            or it has GPUs of several types, and none is chosen.

    """
    wanted, device = config.replicas, config.model.device
    kind = wanted.accelerator_type
    usable = [node for node in nodes if kind in (None, _ANY) or types([node]) == [kind]]
    gpus = sum(node.get("GPU", 0) for node in usable)
    num_gpus = wanted.num_gpus
    if num_gpus is None:
        num_gpus = 1 if (gpus or kind) and device != "cpu" else 0
        if device == "auto" and not num_gpus and not own:
            _tell_of_cpus(len(nodes))
    if device == "cuda" and not num_gpus:
        raise ConfigError(
            "model.device=cuda, but replicas have no GPU. Set replicas.num_gpus=1 and use a "
            "cluster that has GPUs or starts nodes with GPUs on demand"
        )
    # Reading and tokenizing must always find a free core.
    spare = TASK_SLOTS if own else 1
    if num_gpus:
        _refuse_mixed(nodes, kind)
        num_cpus = _cpus_beside_gpus(wanted.num_cpus, num_gpus, usable, spare)
    else:
        most_cpus = max(node.get("CPU", 0) for node in nodes)
        num_cpus = wanted.num_cpus or max(1, most_cpus - spare)
    fitting = sum(_room(node, num_cpus, num_gpus, spare) for node in usable)
    most = wanted.max or fitting
    awaited = num_gpus and not gpus and not own  # nodes with GPUs may be started on demand
    if not fitting and awaited and wanted.max:
        log.warning(
            "no node has a GPU yet: waiting for the first of up to %d replicas with %s, for at "
            "most %g s (guard.max_stall_seconds)",
            *(most, resources(num_cpus, num_gpus), config.guard.max_stall_seconds),
        )
    elif not fitting:
        raise _no_room(nodes, kind, resources(num_cpus, num_gpus), spare, bool(awaited))
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
    fitting = min(most, fitting)
    least = wanted.min or (fitting if num_gpus else 1)
    return Placement(max(1, min(least, fitting)), fitting, most, num_cpus, num_gpus, kind)


def node(cpus: int, gpus: int, kind: str | None) -> dict[str, float]:
    """The resources of a node as `living_nodes` gives them, whose GPUs are of this type."""
    found: dict[str, float] = {"CPU": cpus, "GPU": gpus}
    return found | ({f"{_TYPE}{kind}": 1.0} if kind not in (None, _ANY) else {})


def types(nodes: list[dict[str, float]]) -> list[str]:
    """The types of the GPUs of these nodes, as Ray names them, sorted."""
    with_gpus = [node for node in nodes if node.get("GPU")]
    return sorted(
        {name.removeprefix(_TYPE) for node in with_gpus for name in node if name.startswith(_TYPE)}
    )


def _refuse_mixed(nodes: list[dict[str, float]], kind: str | None) -> None:
    """One type of GPU: the number format of a run and its last bits depend on it."""
    found = types(nodes)
    if kind is None and len(found) > 1:
        raise ConfigError(
            f"the cluster has GPUs of several types ({', '.join(found)}), and number format, "
            f"speed and last digits of scores depend on the type. Set replicas.accelerator_type "
            f"to one of them, or to {_ANY} to use all"
        )


def _cpus_beside_gpus(
    wanted: float | None, num_gpus: float, nodes: list[dict[str, float]], spare: int
) -> float:
    """CPUs of a replica with a GPU: so few that each node keeps `spare` CPUs when all of its GPUs
    have replicas.
    """
    shares = [
        max(node.get("CPU", 0) - spare, 0) / _on_gpus(node, num_gpus)
        for node in nodes
        if _on_gpus(node, num_gpus)
    ]
    share = min(shares, default=_CPUS_BESIDE_A_GPU)
    if wanted is None:
        return min(1.0, share)
    alone = max(
        (max(node.get("CPU", 0) - spare, 0) for node in nodes if node.get("GPU")), default=0
    )
    if not shares or wanted <= share or wanted > alone > 0:  # or no replica fits, which is told
        return wanted
    log.warning(
        "replicas.num_cpus=%g is lowered to %g: otherwise replicas would leave GPUs unused, or "
        "take the CPUs that reading and tokenizing need",
        *(wanted, share),
    )
    return share


def _no_room(
    nodes: list[dict[str, float]], kind: str | None, needs: str, spare: int, awaited: bool
) -> ConfigError:
    advice = "Lower replicas.num_cpus or replicas.num_gpus, or use larger nodes"
    if awaited:
        advice = (
            "If nodes with GPUs are started on demand, set replicas.max. Then the run waits "
            "for them"
        )
    gpus = sum(node.get("GPU", 0) for node in nodes)
    of_type = f" of the type {kind}" if kind not in (None, _ANY) else ""
    there = ", ".join(types(nodes))
    return ConfigError(
        f"no node of the cluster has room for a replica with {needs}{of_type} and "
        f"{resources(spare, 0)} for other stages; the largest node has "
        f"{resources(max(node.get('CPU', 0) for node in nodes), 0)}, all nodes together have "
        f"{gpus:g} GPUs{f' ({there})' if there else ''}. {advice}"
    )


def resources(cpus: float, gpus: float) -> str:
    """`1 CPU`, `2 CPUs and 1 GPU`."""
    texts = [
        f"{number:g} {noun}{'' if number == 1 else 's'}"
        for number, noun in ((cpus, "CPU"), (gpus, "GPU"))
        if number or noun == "CPU"
    ]
    return " and ".join(texts)


def _on_gpus(node: dict[str, float], num_gpus: float) -> int:
    """How many replicas the GPUs of a node hold; a fraction does not reach over two GPUs."""
    # 1 / 0.1 and 3 * 0.1 are not whole in binary.
    return int(node.get("GPU", 0)) * int(1 / num_gpus + 1e-9)


def _room(node: dict[str, float], num_cpus: float, num_gpus: float, spare: int) -> int:
    """How many replicas a node holds and still has `spare` CPUs."""
    limits: list[float] = [_on_gpus(node, num_gpus)] if num_gpus else []
    limits += [max(node.get("CPU", 0) - spare, 0) / num_cpus + 1e-9] if num_cpus else []
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
