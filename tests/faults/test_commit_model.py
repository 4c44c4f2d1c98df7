"""The commit protocol against a store that drops, delays and repeats requests and loses replies.

Hypothesis starts attempts at two parts, lets one of them make one request at a time, chooses what
becomes of each, and delivers late requests whenever it likes. It looks for an order in which a
reader would see something that must not be.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reranker_core.errors import StoreUnavailable
from reranker_core.output.commit import part_of
from reranker_core.output.proof import prove
from reranker_core.output.receipts import Receipt
from reranker_core.reuse.keys import keys_name
from reranker_core.storage.store import Listed, Store
from tests.faults.drivers import Killed
from tests.outputs import Output, made_up
from tests.tables import flat, write

OUTCOMES = ("done", "dropped", "reply_lost", "done_twice", "lost_and_late")


class World(Store):
    """The objects, and the requests that are still on their way to them."""

    def __init__(self) -> None:
        self.url, self.conditional = "model://", True
        self.objects: dict[str, bytes] = {}
        self.late: list[tuple[str, str, bytes]] = []

    def apply(self, kind: str, name: str, data: bytes) -> bool:
        if kind == "create" and name in self.objects:
            return False
        if kind == "delete":
            self.objects.pop(name, None)
        else:
            self.objects[name] = data
        return True

    def write(self, name: str, data: bytes) -> None:
        self.apply("write", name, data)

    def create(self, name: str, data: bytes) -> bool:
        return self.apply("create", name, data)

    def delete(self, *names: str) -> None:
        for name in names:
            self.apply("delete", name, b"")

    def read(self, name: str) -> bytes:
        try:
            return self.objects[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    def exists(self, name: str) -> bool:
        return name in self.objects

    def list(self, folder: str = "") -> Iterator[Listed]:
        for name, data in sorted(self.objects.items()):
            if name.startswith(folder):
                yield Listed(name, len(data), None)


class Attempt(World):
    """The store as one attempt sees it: each request waits for its turn and meets its outcome.
    A request without an answer is made again, as `patiently` does, three times.
    """

    def __init__(self, world: World, output: Output, number: int, noise: float) -> None:
        self.url, self.conditional, self._world = world.url, True, world
        self.receipt: Receipt | None = None
        self.alive = True
        self._outcome = ""
        self._turn, self._parked = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(output, number, noise))
        self._thread.start()
        self._parked.acquire()

    def step(self, outcome: str) -> None:
        self._outcome = outcome
        self._turn.release()
        self._parked.acquire()

    def _run(self, output: Output, number: int, noise: float) -> None:
        try:
            self.receipt = output.commit(output.plan.parts[number], noise=noise, store=self)
        except (StoreUnavailable, Killed):
            pass
        finally:
            self.alive = False
            self._parked.release()

    def _answer(self) -> str:
        self._parked.release()
        self._turn.acquire()
        if self._outcome == "killed":
            raise Killed
        return self._outcome

    def apply(self, kind: str, name: str, data: bytes) -> bool:
        for _ in range(3):
            outcome = self._answer()
            if outcome in ("done", "done_twice", "reply_lost"):
                result = self._world.apply(kind, name, data)
            if outcome in ("done_twice", "lost_and_late"):
                self._world.late.append((kind, name, data))
            if outcome in ("done", "done_twice"):
                return result
        raise StoreUnavailable(name)

    def read(self, name: str) -> bytes:
        for _ in range(3):
            if self._answer() in ("done", "done_twice"):
                return self._world.read(name)
        raise StoreUnavailable(name)


class Commits(RuleBasedStateMachine):
    """Attempts at the parts of one output."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        write(self.folder / "in" / "a.parquet", flat(6))
        self.output = Output(self.folder / "in", self.folder / "unused")
        self.world = World()
        self.output.store = self.world
        self.output.claim()
        self.attempts: list[Attempt] = []
        self.seen: dict[str, bytes] = {}

    @rule(number=st.integers(0, 1), noise=st.sampled_from([0.0, 1e-5, 2e-5]))
    def start(self, number: int, noise: float) -> None:
        self.attempts.append(Attempt(self.world, self.output, number, noise))

    @precondition(lambda self: any(attempt.alive for attempt in self.attempts))
    @rule(which=st.integers(0, 99), outcome=st.sampled_from(OUTCOMES))
    def step(self, which: int, outcome: str) -> None:
        alive = [attempt for attempt in self.attempts if attempt.alive]
        alive[which % len(alive)].step(outcome)

    @precondition(lambda self: self.world.late)
    @rule(which=st.integers(0, 99))
    def deliver(self, which: int) -> None:
        self.world.apply(*self.world.late.pop(which % len(self.world.late)))

    @invariant()
    def what_was_seen_stays(self) -> None:
        if not hasattr(self, "world"):
            return
        for name, data in self.seen.items():
            assert self.world.objects[name] == data
        for name, data in self.world.objects.items():
            if part_of(name) and name not in self.seen:
                assert pq.read_table(io.BytesIO(data)).num_rows == 3
                self.seen[name] = data

    @invariant()
    def receipts_tell_of_what_is_there(self) -> None:
        for attempt in getattr(self, "attempts", ()):
            if attempt.receipt is not None:
                stored = self.world.objects[f"{attempt.receipt.part}.parquet"]
                assert attempt.receipt.size == len(stored)
                assert (
                    Receipt.from_json(
                        self.world.objects[f"_receipts/{attempt.receipt.part}.json"]
                    ).sha256
                    == attempt.receipt.sha256
                )
                keys = self.world.objects[keys_name(attempt.receipt.part)]
                assert hashlib.md5(keys).hexdigest() == attempt.receipt.keys["md5"]
                known = pq.read_table(io.BytesIO(keys))["score"].to_pylist()
                assert sorted(known) == sorted(
                    pq.read_table(io.BytesIO(stored))["score"].to_pylist()
                )

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for attempt in self.attempts:
            while attempt.alive:
                attempt.step("killed")
        while self.world.late:
            self.world.apply(*self.world.late.pop())
        self.output.drive(noise=3e-5)
        self.what_was_seen_stays()
        assert prove(self.world, self.output.run, read_all=True).rows == 6
        tables = [
            pq.read_table(io.BytesIO(self.world.objects[f"{part.name}.parquet"]))
            for part in self.output.plan.parts
        ]
        scores = {row["doc_id"]: row["score"] for table in tables for row in table.to_pylist()}
        assert all(abs(scores[f"d{i}"] - made_up(f"d{i}")) < 1e-3 for i in range(6))
        shutil.rmtree(self.folder)


TestCommits = Commits.TestCase
TestCommits.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes: add it to debug
    suppress_health_check=[HealthCheck.too_slow],
)
