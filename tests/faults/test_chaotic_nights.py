"""Nights that reuse scores, with many faults at once, from a seed.

    make chaos RUNS=200 SEED=1

The second night takes scores from the first one, or scores pairs of several parts once, or both.
Its drivers die at random requests, behind a network that fails. In the end, its output must be the
one of an undisturbed night without reuse, bit for bit. A third night must find all scores in it.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from reranker_core.errors import Incomplete, StoreUnavailable
from reranker_core.output.shared_pairs import SharedPairs
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from reranker_core.storage.store import Store
from tests.faults.drivers import Killed, MortalStore
from tests.faults.proxy import FAULTS, FaultyProxy, at_random
from tests.faults.watching import show_counts
from tests.reusing import SETTINGS, Night, find_shared, flat_of, nested_of, score_shared
from tests.running import ROOT
from tests.servers import BUCKET, SeaweedFS, clients_of, seaweedfs
from tests.tables import config, write

pytestmark = pytest.mark.exhaustive  # `make test` has tests/faults/test_chaos.py
RUNS = int(os.environ.get("RUNS", "2"))
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
DEMO = ROOT / "demo/model"
QUERIES = ["sort a list", "read a file", "", None]
WAYS = [("reuse.from",), ("reuse.within",), ("reuse.from", "reuse.within")]


class Nights:
    """Two nights: the first one on a disk, the second one on S3."""

    def __init__(self, dice: random.Random, folder: Path, scorer: Scorer) -> None:
        self.dice, self.folder, self.scorer, self.met = dice, folder, scorer, Counter[str]()
        self.url = f"s3://{BUCKET}/{folder.name}"
        pairs = self._pairs(30)
        self._write("first", pairs[:20])
        self._write("second", [*pairs[10:], *dice.choices(pairs, k=15), *self._pairs(5)])
        self.way = dice.choice(WAYS)
        self.met[" and ".join(self.way)] += 1
        assert Night(folder / "first", folder / "before", DEMO, scorer).drive() is not None

    def session(self, server: SeaweedFS, seed: int) -> None:
        """One driver, which may be killed."""
        rate = self.dice.choice([0.0, 0.1, 0.3])
        kinds = tuple(self.dice.sample(FAULTS, self.dice.randint(1, len(FAULTS))))
        store = MortalStore(self.url, lives=self.dice.randint(1, 120), patience=20)
        with (
            FaultyProxy(server.port, at_random(seed, rate, kinds)) as proxy,
            clients_of(proxy.endpoint),
            self._expected(),
        ):
            self._drive(store)
            self.met["completed"] += 1
        self.met.update(proxy.injected)

    def verdict(self) -> Counter[str]:
        """What is wrong in the end."""
        night = self._drive(Store(self.url))
        plain = Night(
            self.folder / "second", self.folder / "plain", DEMO, self.scorer, "reuse.keep=false"
        )
        assert plain.drive() is not None
        third = (f"reuse.from={self.url}", "reuse.check=0")
        last = Night(self.folder / "second", self.folder / "third", DEMO, self.scorer, *third)
        assert last.drive() is not None
        left = any(each.name.startswith("_within") for each in night.store.list())
        pairs = zip(night.tables(), plain.tables(), strict=True)
        return Counter(
            {
                "parts that differ": sum(not one.equals(other) for one, other in pairs),
                "scored in the third night": last.forwarded,
                "left behind": left,
            }
        )

    def _drive(self, store: Store) -> Night:
        """What a driver does, without a lease and without Ray."""
        settings = ["reuse.check=0"]
        if "reuse.from" in self.way:
            settings.append(f"reuse.from={self.folder / 'before'}")
        night = Night(self.folder / "second", self.url, DEMO, self.scorer, *settings)
        night.prepared = replace(night.prepared, store=store)
        shared = SharedPairs(store)
        if "reuse.within" in self.way and len(night.prepared.todo) > 1:
            found = shared.ready(part.name for part in night.prepared.todo)
            if found is None:
                shared, found = find_shared(night.prepared)
            if found:
                score_shared(night, shared)
        assert night.drive() is not None
        shared.remove()
        return night

    @contextmanager
    def _expected(self) -> Iterator[None]:
        try:
            yield
        except (Killed, StoreUnavailable, Incomplete) as error:
            self.met[f"ended with {type(error).__name__}"] += 1

    def _pairs(self, number: int) -> list[tuple[str | None, str | None]]:
        draw = self.dice
        texts = [f"passage {draw.randrange(10_000)} {'é ' * draw.randrange(20)}" for _ in range(9)]
        return [(draw.choice(QUERIES), draw.choice([*texts, "", None])) for _ in range(number)]

    def _write(self, night: str, pairs: list[tuple[str | None, str | None]]) -> None:
        make, cut = self.dice.choice([flat_of, nested_of]), self.dice.randint(1, len(pairs) - 1)
        for name, some in (("a", pairs[:cut]), ("b", pairs[cut:])):
            write(self.folder / night / f"{name}.parquet", make(some))


@pytest.mark.timeout(60 + 60 * RUNS)
def test_however_often_a_night_is_killed_it_is_the_one_without_reuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dice = random.Random(SEED)
    print(f"SEED={SEED}")
    met, verdicts = Counter[str](), Counter[str]()
    scorer = load_scorer(config("in", "out", *SETTINGS, model=DEMO))
    with seaweedfs(tmp_path / "weed") as server, clients_of(server.endpoint):
        for number in range(RUNS):
            nights = Nights(dice, tmp_path / f"run{number}-{tmp_path.name}", scorer)
            for _ in range(dice.randint(1, 4)):
                nights.session(server, dice.randrange(1 << 32))
            verdicts += nights.verdict()
            met += nights.met
    whats = ("parts that differ", "scored in the third night", "left behind")
    show_counts(f"nights with reuse: RUNS={RUNS} SEED={SEED}", met, verdicts, whats)
    assert not +verdicts
