"""How fast a replica is: from an earlier output that is alike, or measured."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass

from reranker_core.errors import RerankError, count
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
# Times as long or as short: within it, a token takes about as long.
_OTHER_LENGTH = 4.0


@dataclass(frozen=True)
class Speed:
    """What one replica does.

    Attributes:
        tokens_per_second: without padding.
        start_seconds: of a run without scoring: Ray, loading, checks, and the page at the end.
        replicas: how many there were; 1 if measured here.
        cpus, gpus: of each.
        origin: where the numbers come from, in words.
        unlike: what was not as it will be in the run, one phrase each.

    """

    tokens_per_second: float
    start_seconds: float
    replicas: int
    cpus: float
    gpus: float
    origin: str
    unlike: tuple[str, ...] = ()


@dataclass(frozen=True)
class Replicas:
    """Those of a run on this machine.

    Attributes:
        number: how many there will be.
        cpus, gpus: of each.
        processor: the name of its GPU, or of its CPU.

    """

    number: int
    cpus: float
    gpus: float
    processor: str


def speed_of(prepared: Prepared, work: Workload, here: Replicas | None) -> Speed | None:
    """From the newest output of a run that is alike; without one, measured here for a minute.

    Of a cluster, an output of the same model that is not alike says more than this machine.

    Args:
        prepared: the run.
        work: what is left to score.
        here: its replicas on this machine; None on a cluster.

    Returns:
        None without work.

    """
    if not work.parts:
        return None
    nearest: Speed | None = None
    for store in [prepared.store, *complete_siblings(prepared.store)]:
        for attempt in _attempts(store, prepared):
            unlike = _differences(attempt, prepared, work, here)
            if not unlike:
                return _recorded(attempt, store, ())
            nearest = nearest or _recorded(attempt, store, unlike)
    if nearest is not None and here is None:
        return nearest
    return _measured(prepared, work, here)


def _attempts(store: Store, prepared: Prepared) -> list[Attempt]:
    """Those of an output that scored long enough with the same model, newest first."""
    try:
        found = reversed(read_attempts(store))
    except RerankError:
        return []
    return [
        each
        for each in found
        if each.replicas and each.scoring_seconds >= _LEAST_SECONDS and _same_model(each, prepared)
    ]


def _same_model(attempt: Attempt, prepared: Prepared) -> bool:
    """Whether it had this model, this number format, and this kind of device."""
    model = attempt.configuration.get("model") or {}
    if model.get("digest") != short_digest(prepared.fingerprint["model"]):
        return False
    ours = prepared.config.model
    if ours.dtype not in ("auto", model.get("dtype")):
        return False
    return ours.device == "auto" or (ours.device == "cuda") == bool(attempt.gpus)


def _differences(
    attempt: Attempt, prepared: Prepared, work: Workload, here: Replicas | None
) -> tuple[str, ...]:
    """What makes its speed another one than that of the run, as far as both are known."""
    config, before = prepared.config, attempt.configuration
    cpus, gpus = config.replicas.num_cpus, config.replicas.num_gpus
    if here is not None:
        cpus, gpus = here.cpus, here.gpus
    pairs: list[tuple[str, object, object]] = [("GPUs per replica", attempt.gpus, gpus)]
    if not attempt.gpus:
        pairs.append(("CPUs per replica", attempt.cpus, cpus))
    processors = {each["processor"] for each in attempt.replicas if each.get("processor")}
    if here is not None and processors:
        pairs.append(("processor", ", ".join(sorted(processors)), here.processor))
    replicas = before.get("replicas") or {}
    if here is None and "accelerator_type" in replicas:
        name = "accelerator_type"
        pairs.append((f"replicas.{name}", replicas[name], config.replicas.accelerator_type))
    for name, value in (before.get("score") or {}).items():
        ours = getattr(config.score, name, value)
        if ours != value:  # also if one of them is null
            pairs.append((f"score.{name}", _shown(value), _shown(ours)))
    earlier, now = attempt.tokens / max(attempt.distinct, 1), _length(work)
    # Outputs of earlier versions do not say how many pairs these were.
    if attempt.distinct and now and not 1 / _OTHER_LENGTH < earlier / now < _OTHER_LENGTH:
        pairs.append(("tokens per pair", f"{earlier:.0f}", f"{now:.0f}"))
    return tuple(
        f"{name}: {_shown(old)} before, {_shown(new)} now"
        for name, old, new in pairs
        if new is not None and old != new
    )


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _length(work: Workload) -> float:
    """Tokens of a sampled pair."""
    pairs = sum(len(each.chunks) for each in work.sequences)
    return sum(int(each.tokens.lengths.sum()) for each in work.sequences) / max(pairs, 1)


def _recorded(attempt: Attempt, store: Store, unlike: tuple[str, ...]) -> Speed:
    number = len(attempt.replicas)
    # Replicas that wait for parts will wait again. Where scores were used again, they have
    # waited for parts without new pairs.
    waited = 0.0 if attempt.reuse else attempt.waiting_seconds
    busy = (attempt.scoring_seconds + attempt.waiting_seconds) / number
    return Speed(
        attempt.tokens / (attempt.scoring_seconds + waited),
        max(0.0, attempt.seconds - busy) + _AROUND_SECONDS,
        number,
        attempt.cpus,
        attempt.gpus,
        f"attempt {attempt.number} of {store.shown} ({_devices(attempt)})",
        unlike,
    )


def _devices(attempt: Attempt) -> str:
    names = ("device", "processor", "dtype")
    each = (filter(None, map(replica.get, names)) for replica in attempt.replicas)
    return ", ".join(sorted({" ".join(map(str, words)) for words in each}))


def _measured(prepared: Prepared, work: Workload, here: Replicas | None) -> Speed:
    """Of a scorer in this process, with the sampled pairs."""
    # Late: it loads torch and the layers of transformers.
    import torch

    from reranker_core.device import torch_threads
    from reranker_core.score.loading import load_scorer

    log.info("no earlier run of this kind shows the speed of this model; measuring it for a minute")
    starting = _AS_LONG_AS * _import_seconds()
    as_replica = nullcontext() if here is None or here.gpus else torch_threads(int(here.cpus) or 1)
    with as_replica:
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
        threads = torch.get_num_threads()
    report = scorer.report
    # Without a GPU, texts are tokenized on the cores that score.
    encoding = tokens * work.encoding_seconds / threads if report.device == "cpu" else 0.0
    on_gpu = report.device.startswith("cuda")
    return Speed(
        max(tokens, 1) / (seconds + encoding),
        starting + loading,
        1,
        float(threads) if here is None else here.cpus,
        (1.0 if here is None else here.gpus) if on_gpu else 0.0,
        f"{seconds:.0f} s of scoring in this process ({report.device} {report.processor} "
        f"{report.dtype}, {count(threads, 'thread')})",
        ("measured on this machine",) if here is None else (),
    )


def _import_seconds() -> float:
    start = time.monotonic()
    # Silent: libraries warn while they are imported. Errors show where this process imports them.
    subprocess.run([sys.executable, "-c", _IMPORTS], check=False, capture_output=True)
    return time.monotonic() - start
