"""One driver at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from reranker_core.errors import OutputConflict
from reranker_core.output import lease as lease_module
from reranker_core.output.lease import Fence, Lease
from reranker_core.storage.filesystem import is_local
from reranker_core.storage.store import Store
from tests.outputs import sizes
from tests.running import ROOT

TERM = 1.0


@pytest.fixture
def store(output_url: str) -> Store:
    return Store(output_url)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of other processes, as if they ran on other machines."""
    monkeypatch.setattr(lease_module, "_machine", lambda: None)


def abandon(store: Store) -> Lease:
    """A lease whose holder shows no sign of life any more."""
    return Lease.acquire(store, TERM)


def test_a_free_output_is_taken_at_once_and_given_back(store: Store):
    start = time.monotonic()
    for _ in range(3):
        with Lease.acquire(store) as lease:
            lease.confirm()
    assert time.monotonic() - start < 10


def test_one_file_is_left_behind(store: Store):
    for _ in range(3):
        with Lease.acquire(store):
            pass
    assert list(sizes(store)) == ["_lease/000003.json"]


@pytest.mark.usefixtures("elsewhere")
def test_a_second_driver_is_told_who_holds_it(store: Store):
    with Lease.acquire(store, TERM), pytest.raises(OutputConflict) as caught:
        Lease.acquire(store, TERM)
    assert f":{os.getpid()} (host:process), since 20" in str(caught.value)
    assert caught.value.exit_code == 6


@pytest.mark.usefixtures("elsewhere")
def test_a_dead_holder_is_waited_for_and_then_replaced(store: Store):
    abandon(store)
    start = time.monotonic()
    with Lease.acquire(store, TERM) as lease:
        assert TERM <= time.monotonic() - start < 3 * TERM
        lease.confirm()


def test_a_holder_of_this_machine_that_was_killed_is_not_waited_for(store: Store):
    code = f"""
import time
from reranker_core.output.lease import Lease
from reranker_core.storage.store import Store
with Lease.acquire(Store({store.url!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    start = time.monotonic()
    with Lease.acquire(store):
        assert time.monotonic() - start < 5


@pytest.mark.usefixtures("elsewhere")
def test_a_holder_that_was_paused_for_too_long_finds_itself_replaced(store: Store):
    paused = abandon(store)
    with Lease.acquire(store, TERM):
        with pytest.raises(OutputConflict, match="taken over"):
            paused.confirm()
        with pytest.raises(OutputConflict, match="taken over"):
            paused.fence.check(store)
        with paused:  # its sign of life wakes up
            end = time.monotonic() + 10
            while paused._lost is None and time.monotonic() < end:
                time.sleep(0.05)
            with pytest.raises(OutputConflict, match="taken over"):
                paused.check()


@pytest.mark.usefixtures("elsewhere")
def test_a_holder_that_wakes_after_its_successor_has_finished_is_replaced_too(store: Store):
    paused = abandon(store)
    with Lease.acquire(store, TERM):
        pass
    with pytest.raises(OutputConflict):
        paused.confirm()


@pytest.mark.usefixtures("elsewhere")
def test_a_late_sign_of_life_does_not_bring_a_lease_back(store: Store):
    paused = abandon(store)
    with Lease.acquire(store, TERM) as lease:
        paused._write(beat=9)  # the request was on its way while the other took over
        lease.confirm()
        with pytest.raises(OutputConflict):
            paused.confirm()


@pytest.mark.usefixtures("elsewhere")
def test_of_many_who_start_at_once_one_holds_it(store: Store):
    if not is_local(store.filesystem):
        pytest.skip("moto looks, then writes")
    held: list[int] = []
    refused: list[OutputConflict] = []
    done = threading.Event()

    def drive(number: int) -> None:
        try:
            with Lease.acquire(store, TERM):
                held.append(number)
                done.wait(20)
        except OutputConflict as error:
            refused.append(error)

    drivers = [threading.Thread(target=drive, args=(number,)) for number in range(8)]
    for driver in drivers:
        driver.start()
    end = time.monotonic() + 15
    while len(refused) < 7 and time.monotonic() < end:
        time.sleep(0.05)
    done.set()
    for driver in drivers:
        driver.join()
    assert len(held) == 1
    assert len(refused) == 7


@pytest.mark.usefixtures("elsewhere")
def test_a_damaged_lease_runs_out_like_any_other(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease_module, "TERM", 0.3)
    store.write("_lease/000007.json", b'{"holder": ')
    with Lease.acquire(store, TERM) as lease:
        assert lease.fence == Fence(8)


def test_the_lease_tells_who_holds_it(store: Store):
    with Lease.acquire(store):
        state = json.loads(store.read("_lease/000001.json"))
    assert state["holder"].endswith(f":{os.getpid()}")
    assert not state["released"]
    assert json.loads(store.read("_lease/000001.json"))["released"]


def test_the_lease_is_renewed(store: Store):
    end = time.monotonic() + 10
    with Lease.acquire(store, 0.3):
        while json.loads(store.read("_lease/000001.json"))["beat"] <= 2:
            assert time.monotonic() < end
            time.sleep(0.05)


class Timed(Store):
    """A store that notes how long each request may take."""

    def __init__(self, url: str, patience: float) -> None:
        super().__init__(url, patience)
        self.creations: list[float] = []
        self.renewals: list[float] = []

    def create(self, name: str, data: bytes) -> bool:
        self.creations.append(self._patience)
        return super().create(name, data)

    def write(self, name: str, data: bytes) -> None:
        self.renewals.append(self._patience)
        super().write(name, data)


def test_who_takes_it_is_patient_and_who_holds_it_stays_within_its_term(tmp_path: Path):
    store = Timed(str(tmp_path / "out"), patience=99)
    with Lease.acquire(store):
        pass
    assert set(store.creations) == {99}
    assert store.renewals
    assert max(store.renewals) < lease_module.TERM


class Unconditional(Store):
    """As stores that ignore the condition of a conditional write."""

    def create(self, name: str, data: bytes) -> bool:
        self.write(name, data)
        return True


def test_a_store_that_ignores_conditions_is_told_of(tmp_path: Path, caplog):
    with Lease.acquire(Unconditional(str(tmp_path))) as lease:
        lease.confirm()
        assert "not support conditional writes" in caplog.text
