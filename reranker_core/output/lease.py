"""One driver at a time: a lease on the output. Its holder renews it while it runs.

    _lease/<number>.json    who holds it; the highest number counts

A driver takes the lease by creating the next number. Only one driver can succeed. Clocks are not
compared: a driver that finds a lease watches it, and takes it over only if it stays unchanged for
its whole term. A holder that was paused for longer finds a higher number and stops. Its workers
stop too, because they check before each commit (`Fence`). When the holder ends, the last number
stays and is marked as released, so that numbers are never used again.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from reranker_core.errors import OutputConflict, RerankError
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)

FOLDER = "_lease"
TERM = 30.0  # seconds without a sign of life after which a lease is free
_BEATS = 6  # signs of life a term
_STOP_SECONDS = 2.0
_PATIENCE = 15.0  # seconds; a sign of life that comes later is none


@dataclass(frozen=True)
class Fence:
    """The part of the driver's lease that is sent to each worker."""

    number: int

    def check(self, store: Store) -> None:
        """Make sure that no other driver has taken over.

        Raises:
            OutputConflict: another driver has taken over.

        """
        numbers = _numbers(store)
        if numbers and numbers[-1] > self.number:
            raise _conflict(store, _read(store, _name(numbers[-1])), "has taken over")


class Lease:
    """The lease of this process on `store`, from `acquire` until the end of the `with` block."""

    def __init__(self, store: Store, number: int, state: dict[str, Any], term: float) -> None:
        self.fence = Fence(number)
        self._store, self._state, self._term = store, state, term
        self._lost: RerankError | None = None
        self._end = threading.Event()
        self._beat = threading.Thread(target=self._keep, daemon=True, name="lease")

    @classmethod
    def acquire(cls, store: Store, term: float = TERM) -> Lease:
        """Take the lease. Wait up to `term` seconds to see whether another holder is dead.

        Raises:
            OutputConflict: another driver holds it, or took it first; the message names the driver.

        """
        state = _state(term)
        while True:
            number, other = _latest(store)
            if number and not _is_free(other):
                _watch(store, number, other)
            name = _name(number + 1)
            if not store.create(name, _json(state)) and _read(store, name) != state:
                continue  # somebody else was quicker, and shows signs of life if alive
            if not store.settle_conditions(name, _json(state)):
                log.warning(
                    "%s does not support conditional writes (If-None-Match), so the job checks "
                    "whether an object exists before it writes it. Never start two runs with this "
                    "output.path at the same time",
                    store.shown,
                )
            store.delete(*(_name(old) for old in _numbers(store) if old <= number))
            return cls(store.with_patience(_PATIENCE), number + 1, state, term)

    def __enter__(self) -> Lease:
        self._beat.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._beat.join(_STOP_SECONDS)  # it may be waiting for the store
        with suppress(RerankError, OSError):  # it runs out by itself
            if self._lost is None:
                self._write(released=True)

    def check(self) -> None:
        """Make sure that the lease was still held at its last renewal.

        Raises:
            OutputConflict: another driver has taken over.

        """
        if self._lost is not None:
            raise self._lost

    def confirm(self) -> None:
        """Like `check`, but reads the store."""
        self.check()
        self.fence.check(self._store)

    def _keep(self) -> None:
        while not self._end.wait(self._term / _BEATS):
            try:
                self.fence.check(self._store)
                self._write(beat=self._state["beat"] + 1)
            except OutputConflict as error:
                self._lost = error
                return
            except (RerankError, OSError) as error:  # the next beat may reach the store
                log.warning("the lease of the output could not be renewed: %s", error)

    def _write(self, **changes: Any) -> None:
        self._state = {**self._state, **changes}
        self._store.write(_name(self.fence.number), _json(self._state))


def _watch(store: Store, number: int, other: dict[str, Any]) -> None:
    """Return if the lease `number` is free, or shows no sign of life for a whole term."""
    term = float(other.get("term", TERM))
    log.info(
        "%s: driver %s has not released its lease; waiting up to %.0f s to see whether it is "
        "still running",
        store.shown,
        other.get("holder", "somebody"),
        term,
    )
    end = time.monotonic() + term
    while time.monotonic() < end:
        time.sleep(term / _BEATS / 2)
        latest, now = _latest(store)
        if latest == number and _is_free(now):
            return
        if latest != number or now != other:
            raise _conflict(store, now, "is writing it")


def _conflict(store: Store, other: dict[str, Any], does: str) -> OutputConflict:
    return OutputConflict(
        f"output.path={store.url}: another driver {does}: {other.get('holder', 'unknown')} "
        f"(host:process), since {other.get('since', 'unknown')}. Wait until it has finished, or "
        "stop it, then run the same command again"
    )


def _latest(store: Store) -> tuple[int, dict[str, Any]]:
    numbers = _numbers(store)
    return (numbers[-1], _read(store, _name(numbers[-1]))) if numbers else (0, {})


def _numbers(store: Store) -> list[int]:
    stems = (Path(listed.name).stem for listed in store.list(FOLDER))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def _read(store: Store, name: str) -> dict[str, Any]:
    try:
        state = json.loads(store.read(name))
    except (FileNotFoundError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _name(number: int) -> str:
    return f"{FOLDER}/{number:06d}.json"


def _json(state: dict[str, Any]) -> bytes:
    return json.dumps(state, indent=1).encode()


def _state(term: float) -> dict[str, Any]:
    return {
        "holder": f"{socket.gethostname()}:{os.getpid()}",
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "process": [os.getpid(), _started(os.getpid())],
        "nonce": uuid.uuid4().hex,
        "term": term,
        "beat": 0,
        "released": False,
    }


def _is_free(state: dict[str, Any]) -> bool:
    """Whether its holder let go, or was a process of this machine that is no more."""
    if state.get("released"):
        return True
    machine, process = state.get("machine"), state.get("process")
    if not machine or machine != _machine() or not isinstance(process, list):
        return False
    return _started(int(process[0])) != process[1]


def _machine() -> str | None:
    """The machine since it was booted, and its process namespace; None where they are unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _started(process: int) -> str | None:
    """When a process of this machine was started; None if there is none, or just its remains."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]
