"""Connecting to Ray, and what it says of its nodes."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.data import DataContext

from reranker_core.config import Config
from reranker_core.cores import usable_cores
from reranker_core.device import number_formats, resolve_device
from reranker_core.errors import ConfigError, Incomplete, brief
from reranker_core.pipeline.placement import TASK_SLOTS, Placement

log = logging.getLogger(__name__)

_TOLD_EVERY = 60  # seconds, while waiting


@contextmanager
def connected(config: Config) -> Iterator[bool]:
    """Join the Ray of `ray.address` or RAY_ADDRESS, or start an own one, until the end of the
    `with` block; gives whether it is an own one. A Ray that this process has joined already is
    used, and left as it was.

    Raises:
        ConfigError: there is no Ray at the address, or the process has joined another.
        Incomplete: an own one did not come up.

    """
    if ray.is_initialized():
        joined = ray.get_runtime_context().gcs_address
        if config.ray.address not in (None, "auto", joined):
            raise ConfigError(
                f"ray.address={config.ray.address}: this process has joined the Ray at {joined} "
                "already; leave ray.address out to use that one, or call ray.shutdown() before"
            )
        _set_up_data()
        yield False
        return
    own = _connect(config)
    try:
        _set_up_data()
        yield own
    finally:
        ray.shutdown()


def _connect(config: Config) -> bool:
    address = config.ray.address or os.environ.get("RAY_ADDRESS") or "local"
    own = address == "local"
    # What the runtime says of itself is not about the run; errors reach us as exceptions.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # none leave the machine
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        ray.init(
            address=address,
            num_cpus=usable_cores() + TASK_SLOTS if own else None,
            include_dashboard=False if own else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"ray.address={address}: cannot be joined ({brief(error)}). Start a Ray with `ray "
            "start --head`, of the same Ray and Python versions and with its token at hand if it "
            "wants one (RAY_AUTH_MODE); or leave ray.address out to use an own one"
        ) from None
    except Exception as error:  # noqa: BLE001 - what Ray raises when its parts are slow to start
        raise Incomplete(
            f"Ray did not start ({brief(error)}); the machine may be overloaded or out of memory. "
            "Nothing was scored; run the same command again"
        ) from None
    return own


def _set_up_data() -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Errors of ours reach the driver as themselves, not wrapped (and so stripped) by Ray Data.
    context.raise_original_map_exception = True
    # A part is one row, and each is handed on as soon as it is there.
    context.target_max_block_size = 1
    context.target_min_block_size = 0


def living_nodes() -> list[dict[str, float]]:
    """What each node that the cluster has now offers, in Ray's words. Needs a connection."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def describe(nodes: int, placement: Placement) -> str:
    """The cluster in words, for who wonders what a run of `placement` waits for.

    Args:
        nodes: how many there were when the run began.
        placement: what its replicas ask for.

    """
    free = ray.available_resources()
    return (
        f"{len(living_nodes())} nodes are alive, {nodes} when the run began; a replica asks for "
        f"{placement.num_cpus:g} CPUs and {placement.num_gpus:g} GPUs, free are "
        f"{free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs"
    )


def settle_numbers(config: Config, placement: Placement, own: bool) -> Config:
    """The configuration with the device and number format that all replicas will use.

    Where several formats may do, a worker loads the model and takes the first that passes its
    checks: one more load a run, not one a replica.
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
        ask = ray.remote(num_cpus=placement.num_cpus, num_gpus=placement.num_gpus)(_settle)
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
                f"stalled: for {waited} s no node had room for a replica to settle the number "
                "format (guard.max_stall_seconds). Free GPUs or add nodes, then run the same "
                "command again"
            )
        log.warning("for %d s no node had room for a replica, to settle the number format", waited)


def _settle(config: Config) -> tuple[str, str]:
    # On a worker; the driver needs no layers of transformers.
    from reranker_core.score.scorer import Scorer

    device = resolve_device(config.model.device)
    formats = number_formats(config.model.dtype, device)
    if len(formats) == 1:
        return next(iter(formats.items()))
    report = Scorer.load(config).report
    return report.dtype, report.dtype_reason
