"""The attempts of a run: what each driver that scored parts of an output used and did.

    _attempts/<number>.json    the number is that of the driver's lease, so each has its own object

A driver writes its object when it starts to score, about every 30 seconds, and when it ends. An
attempt without an end was killed, or is still running. Only reports read these objects. Outputs of
earlier versions have none.
"""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from reranker_core.errors import RerankError
from reranker_core.errors.redaction import without_credentials
from reranker_core.output.receipts import Receipt
from reranker_core.stopping import Stopped
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)

FOLDER = "_attempts"
_SECONDS_BETWEEN_WRITES = 30.0
_PATIENCE = 15.0  # seconds; a report that is missing delays no score
_SAMPLES = 120  # of pairs over time
_LONGEST_ERROR = 1000


@dataclass
class Attempt:
    """What one driver used and did.

    Attributes:
        number: of its lease.
        start, end, last_sign: UTC times in ISO format; `end` is None until the driver has ended,
            `last_sign` is the time of the last write.
        seconds: from `start` to `last_sign`.
        outcome: `scored` if all its parts are committed, the class of the error that ended it, or
            None without an end.
        exit_code: of that error; 0 for `scored`.
        error: message of that error, without credentials.
        host: of the driver.
        parts_to_score, pairs_to_score: when it started; pairs of nested input are an estimate.
        parts, pairs, scored, distinct, tokens, computed_tokens: what it has committed.
        scoring_seconds, waiting_seconds, loading_seconds: sums over replicas; `loading_seconds`
            includes the preflight.
        cpus, gpus: of each replica.
        replicas: name, device, processor and number format of each, in the order of their first
            part.
        replaced, parked: replicas that were sent away, and resources that were set aside.
        hardware: CPUs, GPUs and number of the nodes at the start.
        software: versions.
        reuse: the outputs whose scores were used again: url, run, number of keys, their digest.
        samples: seconds since `start` and pairs until then; at most 120.
        configuration: the resolved one, without credentials.

    """

    number: int
    start: str
    last_sign: str
    host: str = ""
    end: str | None = None
    seconds: float = 0.0
    outcome: str | None = None
    exit_code: int | None = None
    error: str = ""
    parts_to_score: int = 0
    pairs_to_score: int = 0
    parts: int = 0
    pairs: int = 0
    scored: int = 0
    distinct: int = 0
    tokens: int = 0
    computed_tokens: int = 0
    scoring_seconds: float = 0.0
    waiting_seconds: float = 0.0
    loading_seconds: float = 0.0
    cpus: float = 0.0
    gpus: float = 0.0
    replicas: list[dict[str, Any]] = field(default_factory=list)
    replaced: list[dict[str, Any]] = field(default_factory=list)
    parked: list[dict[str, Any]] = field(default_factory=list)
    hardware: list[dict[str, Any]] = field(default_factory=list)
    software: dict[str, str] = field(default_factory=dict)
    reuse: list[dict[str, Any]] = field(default_factory=list)
    samples: list[list[float]] = field(default_factory=list)
    configuration: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: bytes) -> Attempt:
        """The inverse of `to_json`; unknown fields are ignored. Raises ValueError."""
        found = json.loads(data)
        if not isinstance(found, dict):
            raise ValueError("not a mapping")
        known = {each.name for each in fields(cls)}
        try:
            return cls(**{name: value for name, value in found.items() if name in known})
        except TypeError as error:
            raise ValueError(str(error)) from None

    def to_json(self) -> bytes:
        """The stored form."""
        return json.dumps(without_credentials(asdict(self)), indent=1).encode()

    @property
    def replica_seconds(self) -> float:
        """Time of all replicas: loading, checking, scoring and waiting for parts."""
        return self.loading_seconds + self.scoring_seconds + self.waiting_seconds

    @property
    def gpu_hours(self) -> float:
        """`replica_seconds`, times the GPUs of a replica, in hours."""
        return self.replica_seconds * self.gpus / 3600

    @property
    def cpu_hours(self) -> float:
        """`replica_seconds`, times the CPUs of a replica, in hours."""
        return self.replica_seconds * self.cpus / 3600

    def summary(self) -> dict[str, Any]:
        """For the manifest: everything but the configuration and the samples."""
        found = asdict(self)
        del found["configuration"], found["samples"]
        return found | {
            "pairs_per_second": round(self.pairs / self.seconds, 2) if self.seconds else 0.0,
            "gpu_hours": round(self.gpu_hours, 4),
            "cpu_hours": round(self.cpu_hours, 4),
        }


class Recorder:
    """Records this driver's attempt from entering the `with` block to leaving it.

    A failed write is logged and does not end the run.

    Args:
        store: the output.
        number: of the lease.
        started: when the driver started, in seconds since 1970.
        facts: fields of `Attempt` that are known at the start.

    """

    def __init__(self, store: Store, number: int, started: float, **facts: Any) -> None:
        self._store = store.with_patience(_PATIENCE)
        self._started = started
        self._written = 0.0
        self._every = 1  # parts between two samples
        now = _utc(started)
        self.attempt = Attempt(
            number=number, start=now, last_sign=now, host=socket.gethostname(), **facts
        )

    def __enter__(self) -> Recorder:
        self._write()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        attempt = self.attempt
        attempt.outcome, attempt.exit_code = "scored", 0
        if error is not None:
            attempt.outcome = type(error).__name__
            attempt.exit_code = 1
            # Only messages of our own are known to hold no text of users.
            if isinstance(error, (RerankError, Stopped)):
                attempt.exit_code = error.exit_code
                attempt.error = without_credentials(str(error)[:_LONGEST_ERROR])
        self._sample()
        attempt.end = _utc(time.time())
        self._write()

    def replica(self, report: dict[str, Any]) -> None:
        """Record the preflight report of a new replica."""
        names = ["replica", "device", "processor", "dtype", "compiled", "products"]
        names += ["loading_seconds", "seconds"]
        self.attempt.replicas.append({name: report.get(name) for name in names})
        self.attempt.loading_seconds += report["loading_seconds"] + report["seconds"]

    def aside(self, replaced: list[dict[str, Any]], parked: list[dict[str, Any]]) -> None:
        """Record all replicas that were sent away, and all that were set aside."""
        self.attempt.replaced, self.attempt.parked = replaced, parked

    def add(self, receipt: Receipt) -> None:
        """Count a committed part."""
        attempt = self.attempt
        attempt.parts += 1
        attempt.pairs += receipt.pairs
        attempt.scored += receipt.scored
        attempt.distinct += receipt.distinct
        attempt.tokens += receipt.tokens
        attempt.computed_tokens += receipt.computed_tokens
        attempt.scoring_seconds = round(attempt.scoring_seconds + receipt.seconds, 4)
        attempt.waiting_seconds = round(attempt.waiting_seconds + receipt.waited, 4)
        if attempt.parts % self._every == 0 or attempt.parts == 1:
            self._sample()
        if time.monotonic() - self._written >= _SECONDS_BETWEEN_WRITES:
            self._write()

    def _sample(self) -> None:
        samples = self.attempt.samples
        samples.append([round(time.time() - self._started, 1), self.attempt.pairs])
        if len(samples) > _SAMPLES:
            del samples[1::2]
            self._every *= 2

    def _write(self) -> None:
        now = time.time()
        self.attempt.last_sign = _utc(now)
        self.attempt.seconds = round(now - self._started, 1)
        try:
            name = f"{FOLDER}/{self.attempt.number:06}.json"
            self._store.write(name, self.attempt.to_json())
        except (RerankError, OSError) as error:
            log.warning("the record of this attempt could not be written: %s", error)
        self._written = time.monotonic()


def read_attempts(store: Store) -> list[Attempt]:
    """All attempts, in the order of their leases. Damaged records are left out."""

    def read(name: str) -> list[Attempt]:
        try:
            return [Attempt.from_json(store.read(name))]
        except (FileNotFoundError, ValueError):
            return []

    names: Iterable[str] = sorted(each.name for each in store.list(FOLDER))
    return sorted(
        (attempt for found in in_parallel(read, names) for attempt in found),
        key=lambda attempt: attempt.number,
    )


def forget(store: Store, number: int) -> None:
    """Remove the records before `number`: of a run whose output now belongs to another one."""
    names = [each.name for each in store.list(FOLDER)]
    store.delete(*(name for name in names if name < f"{FOLDER}/{number:06}"))


def last_configuration(attempts: list[Attempt]) -> dict[str, Any]:
    """The configuration of the last attempt that has recorded one; else empty."""
    return next((each.configuration for each in reversed(attempts) if each.configuration), {})


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
