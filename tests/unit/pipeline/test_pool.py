"""What a time without encoded parts does to a pool of replicas: Ray Data's own autoscaler, over a
simulated pool.
"""

from __future__ import annotations

import heapq
import itertools
from types import SimpleNamespace

import pytest
from ray.data._internal.actor_autoscaler.default_actor_autoscaler import DefaultActorAutoscaler
from ray.data.context import AutoscalingConfig

from reranker_core.pipeline.placement import Placement
from reranker_core.pipeline.pool import autoscaling, pool

SIZE = 64
STEP = 0.5  # seconds between two decisions; Ray Data decides more often
FIRST = 30  # seconds before encoding stops


class Pool:
    """As much of an actor pool as the autoscaler asks about; it takes `strategy` for its sizes."""

    def __init__(self, strategy, load):
        self.tasks = dict.fromkeys(range(strategy.initial_size), 0)  # by actor
        self.pending = []  # when each will have loaded
        self.strategy, self.load, self.now, self.grown = strategy, load, 0.0, -1e9
        self.names = itertools.count(len(self.tasks))

    def num_pending_actors(self):
        return len(self.pending)

    def current_size(self):
        return len(self.tasks) + len(self.pending)

    def min_size(self):
        return self.strategy.min_size

    def max_size(self):
        return self.strategy.max_size

    def max_tasks_in_flight_per_actor(self):
        return self.strategy.max_tasks_in_flight_per_actor

    def max_actor_concurrency(self):
        return self.strategy.max_concurrent_calls_per_actor or 1

    def per_actor_resource_usage(self):
        return None

    def get_pool_util(self):
        most = self.current_size() * self.max_actor_concurrency()
        return sum(self.tasks.values()) / most if most else 1e9

    def scale(self, request):
        if request.delta > 0:
            self.pending += [self.now + self.load] * request.delta
            self.grown = self.now
        elif request.delta < 0 and (request.force or self.now > self.grown + 10):
            idle = [actor for actor, tasks in self.tasks.items() if not tasks]
            for actor in idle[: -request.delta]:
                del self.tasks[actor]


class Operator:
    """Hashable, and answers what the autoscaler asks of an operator."""

    _inputs_complete = False
    metrics = SimpleNamespace(num_inputs_received=1)

    def __init__(self, pool):
        self._pool = pool

    def get_autoscaling_actor_pools(self):
        return [self._pool]

    def has_completed(self):
        return False


def fewest(config, strategy, stall, load, part):
    """The smallest number of loaded replicas when encoding stops for `stall` seconds, until `load`
    seconds after it. A replica loads for `load` and scores a part in `part`.
    """
    simulated = Pool(strategy, load)
    state = SimpleNamespace(
        _scheduling_status=SimpleNamespace(under_resource_limits=True),
        total_enqueued_input_blocks=lambda: 1,
    )
    resources = SimpleNamespace(
        get_allocation=lambda _: None, get_op_usage=lambda _: None, get_budget=lambda _: None
    )
    scaler = DefaultActorAutoscaler({Operator(simulated): state}, resources, config=config)
    free_at, ends, queue, smallest = dict.fromkeys(simulated.tasks, 0.0), [], SIZE, SIZE
    while simulated.now < FIRST + stall + load + 2 * part:
        now = simulated.now = simulated.now + STEP
        if not FIRST <= now < FIRST + stall:
            queue = SIZE // 2
        while ends and ends[0][0] <= now:
            actor = heapq.heappop(ends)[1]
            if actor in simulated.tasks:
                simulated.tasks[actor] -= 1
        for _ in [1 for loaded in simulated.pending if loaded <= now]:
            actor = next(simulated.names)
            simulated.tasks[actor], free_at[actor] = 0, now
        simulated.pending = [loaded for loaded in simulated.pending if loaded > now]
        while queue and simulated.tasks:
            actor = min(simulated.tasks, key=simulated.tasks.get)
            if simulated.tasks[actor] >= strategy.max_tasks_in_flight_per_actor:
                break
            simulated.tasks[actor] += 1
            queue -= 1
            free_at[actor] = max(free_at[actor], now) + part
            heapq.heappush(ends, (free_at[actor], actor))
        scaler.try_trigger_scaling()
        smallest = min(smallest, len(simulated.tasks))
    return smallest


@pytest.mark.parametrize(("least", "gpus"), [(1, 0), (1, 1), (SIZE, 1)])
@pytest.mark.parametrize(("load", "part"), [(60, 3.5), (600, 60)])
@pytest.mark.parametrize("stall", [20, 60, 120])
def test_a_time_without_parts_ends_no_replica(stall, load, part, least, gpus):
    strategy = pool(Placement(least, SIZE, SIZE, 1, gpus))
    assert fewest(autoscaling(), strategy, stall, load, part) == SIZE


@pytest.mark.parametrize("load", [60, 600])
def test_rays_own_settings_would_end_nearly_all(load):
    strategy = pool(Placement(1, SIZE, SIZE, 1, 1))
    assert fewest(AutoscalingConfig(), strategy, 60, load, 3.5) < SIZE // 4
