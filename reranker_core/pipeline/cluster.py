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


def settle_numbers(config: Config, placement: Placement, own: bool) -> Config:
    """The configuration with the device and number format that all replicas will use.

    If several formats are possible, one worker loads the model and chooses the first format that
    passes its checks. So the model is loaded once more per run, not once more per replica.
    """
    device = config.model.device
    if device == "auto":
        device = "cuda" if placement.num_gpus else "cpu"
    model = config.model.model_copy(update={"device": device})
    config = config.model_copy(update={"model": model})
    formats = number_formats(config.model.dtype, "cpu")
    if config.model.dtype != "auto" or (own and device == "cpu" and len(formats) == 1):
        dtype, why = next(iter(formats.items()))
    else:  # the driver need not have the hardware that replicas will have
        log.info("a worker loads the model to choose the number format for all replicas")
        ask = ray.remote(**placement.options)(_settle)
        dtype, why = _answer(ask.remote(config), config.guard.max_stall_seconds)
    log.info("model.device=%s model.dtype=%s (%s)", device, dtype, why)
    return config.model_copy(update={"model": model.model_copy(update={"dtype": dtype})})


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
                "stalled: the worker that chooses the number format has not answered for "
                f"{waited} s (guard.max_stall_seconds={longest:g}): no node has free resources, "
                "or loading the model takes longer. Free GPUs, add nodes, set model.dtype, or "
                "raise the limit. Then run the same command again"
            )
        log.warning(
            "the worker that chooses the number format has not answered for %d s: it is waiting "
            "for a node with free resources, or is loading the model",
            waited,
        )


def _settle(config: Config) -> tuple[str, str]:
    # On a worker; the driver needs no layers of transformers.
    from reranker_core.score.scorer import Scorer

    if config.score.reproducible:
        keep_order_of_sums()
    device = resolve_device(config.model.device)
    formats = number_formats(config.model.dtype, device)
    if len(formats) == 1:
        return next(iter(formats.items()))
    report = Scorer.load(config).report
    return report.dtype, report.dtype_reason
