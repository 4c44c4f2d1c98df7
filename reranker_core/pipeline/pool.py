"""The pool of replicas, as Ray Data keeps it: it grows to its size at once, and never shrinks while
parts are left.
"""

from __future__ import annotations

from ray.data import ActorPoolStrategy
from ray.data.context import AutoscalingConfig

from reranker_core.pipeline.placement import Placement

# A replica unpacks its next part, or writes its last one, while it scores one. More parts would
# only fill memory. In runs of many parts, each of these tasks has two (`stages.py`).
PARTS_IN_FLIGHT = 2


def pool(placement: Placement) -> ActorPoolStrategy:
    """All replicas are requested at once. Those that find no room start as nodes join: Ray Data
    alone would add none to a pool of large CPU replicas, because the shares of its other stages
    leave too little for one.
    """
    return ActorPoolStrategy(
        min_size=placement.min,
        max_size=placement.max,
        initial_size=placement.max,
        max_tasks_in_flight_per_actor=PARTS_IN_FLIGHT,
        max_concurrent_calls_per_actor=PARTS_IN_FLIGHT,
        enable_true_multi_threading=True,
    )


def autoscaling() -> AutoscalingConfig:
    """Ray Data's default ends an idle replica ten times a second, and adds them in small steps:
    after a minute without parts, one of 64 was left, and the pool needed 20 minutes to grow again.
    Utilisation is never below 0, so nothing is ended before all parts are handed out. It is 1 where
    replicas have `PARTS_IN_FLIGHT` at once, so growing needs no more than that.
    """
    return AutoscalingConfig(
        actor_pool_util_downscaling_threshold=-1.0, actor_pool_util_upscaling_threshold=1.0
    )
