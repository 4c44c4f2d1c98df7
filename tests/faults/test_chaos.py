"""Many faults at once, from a seed: after each run, resume ends in the undisturbed output.

    make chaos RUNS=200 SEED=1

A run is up to four sessions of one or two drivers each, behind a network that fails, against an S3
server that is now and then killed. Drivers die and pause at random requests; shards change between
sessions. A reader lists the output all the while. The last session is undisturbed. The next night
finds all scores of the output in its keys.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from reranker_core.errors import Incomplete, OutputConflict, StoreUnavailable
from reranker_core.input.pairs import find_pairs
from reranker_core.input.reading import read_parts
from reranker_core.output import lease as lease_module
from reranker_core.output import receipts as receipts_module
from reranker_core.output.earlier_scores import earlier_scores
from reranker_core.output.proof import prove
from reranker_core.reuse.hashes import pair_hashes
from reranker_core.storage.store import Store
from tests.faults.drivers import Killed, MortalStore
from tests.faults.proxy import FAULTS, FaultyProxy, at_random
from tests.faults.watching import Reader, show_counts
from tests.outputs import Output, made_up
from tests.servers import BUCKET, SeaweedFS, clients_of, seaweedfs
from tests.tables import flat, write

RUNS = int(os.environ.get("RUNS", "1"))
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
TERM = 0.6
EXPECTED = (Killed, OutputConflict, StoreUnavailable, Incomplete)


class Run:
    """One output, its sessions, and what they met with."""

    def __init__(self, dice: random.Random, folder: Path, server: SeaweedFS) -> None:
        self.dice, self.server, self.met = dice, server, Counter[str]()
        self.source, self.url = folder / "in", f"s3://{BUCKET}/{folder.name}"
        self.rows = {name: dice.randint(3, 13) for name in "ab"}
        self.firsts = {"a": 0, "b": 100}
        for name in self.rows:
            self._write(name)
        self.reader = Reader(Store(self.url, patience=5))
        self.reader.look()  # s3fs asks the environment for the server when it is first used

    def session(self, seed: int) -> None:
        """One or two drivers at once, each with its own luck."""
        rate = self.dice.choice([0.0, 0.1, 0.3])
        kinds = tuple(self.dice.sample(FAULTS, self.dice.randint(1, len(FAULTS))))
        with FaultyProxy(self.server.port, at_random(seed, rate, kinds)) as proxy:
            with clients_of(proxy.endpoint), ThreadPoolExecutor(2) as threads:
                output = Output(self.source, self.url)
                drivers = self.dice.choice([1, 1, 2])
                drives = [
                    threads.submit(output.drive, noise=i * 1e-5, term=TERM, store=self._store())
                    for i in range(drivers)
                ]
                if self.dice.random() < 0.15:
                    time.sleep(self.dice.uniform(0, 1))
                    self.met["server killed"] += 1
                    self.server.kill()
                    self.server.start()
                for drive in drives:
                    error = drive.exception()
                    assert error is None or isinstance(error, EXPECTED), repr(error)
                    self.met[f"ended with {type(error).__name__}" if error else "completed"] += 1
            self.met["two drivers"] += drivers == 2
            self.met.update(proxy.injected)

    def change(self) -> None:
        """A shard is written again with other rows, or not."""
        if self.dice.random() < 0.3:
            name = self.dice.choice("ab")
            self.rows[name] = self.dice.randint(3, 13)
            self.firsts[name] += 1000
            self._write(name)
            self.met["shard changed"] += 1

    def verdict(self) -> Counter[str]:
        """Rows that are lost, doubled or wrong in the end, and what the reader saw."""
        output = Output(self.source, self.url)
        output.drive(term=TERM)
        prove(output.store, output.run, read_all=True)
        self.reader.look()
        found = Counter[str]()
        expected: dict[str, float] = {}
        for name, rows in self.rows.items():
            ids = (f"d{i}" for i in range(self.firsts[name], self.firsts[name] + rows))
            expected |= {doc_id: made_up(doc_id) for doc_id in ids}
        rows = [row for table in output.tables() for row in table.to_pylist()]
        counts = Counter(row["doc_id"] for row in rows)
        found["lost"] = len(expected.keys() - counts.keys())
        found["doubled"] = sum(count - 1 for count in counts.values())
        found["wrong"] = sum(
            abs(row["score"] - expected.get(row["doc_id"], 1e9)) > 1e-3 for row in rows
        )
        found["seen by the reader"] = len(self.reader.wrong)
        found["not reused exactly"] = self._not_reused(output)
        return found

    def _not_reused(self, output: Output) -> int:
        """Pairs that the next night does not find in this output with the score that it has."""
        following = Output(self.source, f"{self.url}-next", f"reuse.from={self.url}")
        chosen = earlier_scores(following.config, output.run["fingerprint"], following.store)
        assert chosen is not None
        reuse, wrong = chosen[0].open(), 0
        for part, written in zip(output.plan.parts, output.tables(), strict=True):
            ((_, table),) = read_parts([part], output.plan.schema.columns)
            pairs = find_pairs(table, output.plan.schema)
            found, _ = reuse.known(pair_hashes(pairs))
            old = np.full(len(pairs.query_of), np.nan, np.float32)
            old[found.index] = found.scores[:, 0]
            wrong += int((old[pairs.distinct_of] != written["score"].to_numpy()).sum())
        return wrong

    def _write(self, name: str) -> None:
        path = self.source / f"{name}.parquet"
        write(path, flat(self.rows[name], first=self.firsts[name]))

    def _store(self) -> MortalStore:
        store = MortalStore(self.url, patience=20)
        if self.dice.random() < 0.4:
            self.met["driver killed"] += 1
            store = MortalStore(self.url, lives=self.dice.randint(1, 60), patience=20)
        elif self.dice.random() < 0.2:
            self.met["driver paused"] += 1
            at = self.dice.randint(5, 50)
            store = MortalStore(self.url, pause_at=at, pause=3 * TERM, patience=20)
        return store


@pytest.mark.slow
@pytest.mark.timeout(60 + 60 * RUNS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_whatever_happens_the_outcome_is_the_undisturbed_one(tmp_path, monkeypatch):
    monkeypatch.setattr(lease_module, "_machine", lambda: None)
    monkeypatch.setattr(receipts_module, "BATCH", 5)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dice = random.Random(SEED)
    print(f"SEED={SEED}")
    met, verdicts = Counter[str](), Counter[str]()
    with seaweedfs(tmp_path / "weed") as server, clients_of(server.endpoint):
        for number in range(RUNS):
            folder = tmp_path / f"run{number}-{tmp_path.name}"
            run = Run(dice, folder, server)
            with run.reader.watching():
                for session in range(dice.randint(1, 4)):
                    run.session(seed=dice.randrange(1 << 32) + session)
                    run.change()
                verdicts += run.verdict()
            met += run.met
    whats = ("lost", "doubled", "wrong", "seen by the reader", "not reused exactly")
    show_counts(f"chaos: RUNS={RUNS} SEED={SEED}", met, verdicts, whats)
    assert not +verdicts, run.reader.wrong
