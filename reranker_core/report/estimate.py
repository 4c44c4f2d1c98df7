"""How long a run will take, and what it will cost."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from reranker_core.errors import RerankError
from reranker_core.models.digests import short_digest
from reranker_core.output.attempts import Attempt, read_attempts
from reranker_core.output.siblings import complete_siblings
from reranker_core.prepare import Prepared
from reranker_core.report.workload import Workload
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)

_MEASURED_SECONDS = 60.0
_LEAST_SECONDS = 30.0  # of scoring, for a rate that is worth having
# A run starts Python, Ray and workers, and ends with the page. Nearly all of this time is spent on
# imports. So it is measured in the time of one Python that imports the libraries of a worker.
_IMPORTS = "import ray.data, torch, transformers.modeling_utils"
_AS_LONG_AS = 3.0  # such Pythons
_AROUND_SECONDS = 10.0  # of a run before and after an attempt


@dataclass(frozen=True)
class Speed:
    """What one replica does.

    Attributes:
        tokens_per_second: without padding.
        start_seconds: of a run without scoring: Ray, loading, checks, and the page at the end.
        replicas: how many there were; 1 if measured here.
        cpus, gpus: of each.
        origin: where the numbers come from, in words.

    """

    tokens_per_second: float
    start_seconds: float
    replicas: int
    cpus: float
    gpus: float
    origin: str


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


def speed_of(prepared: Prepared, work: Workload) -> Speed | None:
    """From the last attempt with this model, or measured here for a minute; None without work."""
    if not work.parts:
        return None
    stores = [prepared.store, *complete_siblings(prepared.store)]
    for store in stores:
        found = _recorded(store, prepared)
        if found is not None:
            return found
    return _measured(prepared, work)


def _recorded(store: Store, prepared: Prepared) -> Speed | None:
    """Of the newest attempt in an output that scored long enough with the same model."""
    try:
        attempts = read_attempts(store)
    except RerankError:
        return None
    for attempt in reversed(attempts):
        if not attempt.replicas or not _is_alike(attempt, prepared):
            continue
        if attempt.scoring_seconds >= _LEAST_SECONDS:
            number = len(attempt.replicas)
            # Replicas that wait for parts will wait again. Where scores were used again, they have
            # waited for parts without new pairs.
            waited = 0.0 if attempt.reuse else attempt.waiting_seconds
            working = attempt.scoring_seconds + waited
            busy = (attempt.scoring_seconds + attempt.waiting_seconds) / number
            return Speed(
                attempt.tokens / working,
                max(0.0, attempt.seconds - busy) + _AROUND_SECONDS,
                number,
                attempt.cpus,
                attempt.gpus,
                f"attempt {attempt.number} of {store.url} ({_devices(attempt)})",
            )
    return None


def _is_alike(attempt: Attempt, prepared: Prepared) -> bool:
    """Whether it had this model, this number format, and this kind of device."""
    model = attempt.configuration.get("model") or {}
    if model.get("digest") != short_digest(prepared.fingerprint["model"]):
        return False
    ours = prepared.config.model
    if ours.dtype not in ("auto", model.get("dtype")):
        return False
    return ours.device == "auto" or (ours.device == "cuda") == bool(attempt.gpus)


def _devices(attempt: Attempt) -> str:
    names = sorted({f"{each.get('device')} {each.get('dtype')}" for each in attempt.replicas})
    return ", ".join(names)


def _measured(prepared: Prepared, work: Workload) -> Speed:
    """Of a scorer in this process, with the sampled pairs."""
    # Late: it loads torch and the layers of transformers.
    import torch

    from reranker_core.score.loading import load_scorer

    log.info("no earlier run shows the speed of this model; measuring it here for a minute")
    starting = _AS_LONG_AS * _import_seconds()
    start = time.monotonic()
    scorer = load_scorer(prepared.config)
    loading = time.monotonic() - start
    start, tokens = time.monotonic(), 0
    sequences = [each for each in work.sequences if len(each)]
    while sequences and time.monotonic() - start < _MEASURED_SECONDS:
        for each in sequences:
            scorer.score(each)
            tokens += int(each.tokens.lengths.sum())
            if time.monotonic() - start >= _MEASURED_SECONDS:
                break
    seconds = max(time.monotonic() - start, 1e-9)
    report = scorer.report
    threads = torch.get_num_threads()
    # Without a GPU, texts are tokenized on the cores that score.
    encoding = tokens * work.encoding_seconds / threads if report.device == "cpu" else 0.0
    return Speed(
        max(tokens, 1) / (seconds + encoding),
        starting + loading,
        1,
        float(threads),
        1.0 if report.device.startswith("cuda") else 0.0,
        f"{seconds:.0f} s of scoring in this process ({report.device} {report.dtype}, "
        f"{threads} threads)",
    )


def _import_seconds() -> float:
    start = time.monotonic()
    # Silent: libraries warn while they are imported. Errors show where this process imports them.
    subprocess.run([sys.executable, "-c", _IMPORTS], check=False, capture_output=True)
    return time.monotonic() - start


def as_dict(work: Workload, speed: Speed | None, found: Estimate | None) -> dict[str, Any]:
    """Plain data for JSON, without texts."""
    fields = ("parts", "pairs", "done", "sampled", "tokens", "low", "high", "distinct", "cut")
    return {
        "work": {name: getattr(work, name) for name in (*fields, "known")},
        "schema": {each.name: str(each.type) for each in work.schema} if work.schema else {},
        "speed": vars(speed) if speed else None,
        "estimate": vars(found) if found else None,
    }
