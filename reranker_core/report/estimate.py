"""How long a run will take, and what it will cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from reranker_core.report.speed import Speed
from reranker_core.report.workload import Workload


@dataclass(frozen=True)
class Estimate:
    """The time and the price of a run.

    Attributes:
        hours, low, high: wall-clock time with its 95 % interval. The interval is that of the
            tokens; that of the speed is not known.
        replicas: number that was assumed.
        gpu_hours, cpu_hours: of all replicas.
        price: in the currency of `plan.price_per_hour`; None without it.
        saved: hours that the run does not need, by what saves them.

    """

    hours: float
    low: float
    high: float
    replicas: int
    gpu_hours: float
    cpu_hours: float
    price: float | None
    saved: dict[str, float] = field(default_factory=dict)


def estimate(work: Workload, speed: Speed, replicas: int | None, price: float | None) -> Estimate:
    """Combine work and speed.

    Args:
        work: what is left to score.
        speed: of a replica.
        replicas: how many there will be; None: as many as the speed was measured with.
        price: of a replica for an hour.

    """
    number = max(1, min(replicas or speed.replicas, work.parts))

    def hours(tokens: float) -> float:
        if not work.parts:
            return 0.0
        return (speed.start_seconds + tokens / speed.tokens_per_second / number) / 3600

    usual = hours(work.tokens)
    return Estimate(
        hours=usual,
        low=hours(work.low),
        high=hours(work.high),
        replicas=number,
        gpu_hours=usual * number * speed.gpus,
        cpu_hours=usual * number * speed.cpus,
        price=None if price is None else usual * number * price,
        saved={
            name: tokens / speed.tokens_per_second / number / 3600
            for name, tokens in work.saved.items()
        },
    )


def as_dict(work: Workload, speed: Speed | None, found: Estimate | None) -> dict[str, Any]:
    """Plain data for JSON, without texts."""
    fields = ("parts", "pairs", "done", "sampled", "tokens", "low", "high", "distinct", "cut")
    return {
        "work": {name: getattr(work, name) for name in (*fields, "known")},
        "schema": {each.name: str(each.type) for each in work.schema} if work.schema else {},
        "speed": vars(speed) if speed else None,
        "estimate": vars(found) if found else None,
    }
