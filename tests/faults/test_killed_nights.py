"""kill -9 of workers and of the driver in a night that reuses scores: while the index of earlier
scores is built, and while the other pairs are scored. The same command finishes, and the output is
the one without reuse, bit for bit.
"""

import json
import random
from contextlib import suppress
from hashlib import md5

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reranker_core.reuse.keys import as_binary, from_bytes, keys_name, to_bytes
from reranker_core.score.loading import load_scorer
from tests.faults.test_killed_driver import kill, receipts
from tests.reusing import SETTINGS, Night
from tests.running import finish
from tests.shared_ray import ray_head
from tests.tables import config
from tests.texts import flat_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROWS, PART = 3200, 100
FOREIGN = 4_000_000  # keys of other pairs: enough for seconds of building
OWN = (*SETTINGS, f"plan.part_rows={PART}", "score.max_batch_tokens=2048")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def head(cache):
    with ray_head(XDG_CACHE_HOME=str(cache)) as found:
        yield found


@pytest.fixture(scope="module")
def nights(tmp_path_factory, bert):
    """A folder with an earlier output, the input of the next night, and its output without reuse;
    and a scorer.
    """
    folder = tmp_path_factory.mktemp("nights")
    rows = flat_table(ROWS, seed=1)
    for name, some in (
        ("first", rows.slice(0, ROWS // 2)),
        ("second", rows.take(np.random.default_rng(0).permutation(ROWS))),
    ):
        (folder / name).mkdir()
        pq.write_table(some, folder / name / "a.parquet")
    scorer = load_scorer(config("in", "out", *OWN, model=bert))
    earlier = Night(folder / "first", folder / "earlier", bert, scorer, *OWN)
    assert earlier.drive() is not None
    with_foreign_keys(earlier)
    plain = Night(folder / "second", folder / "plain", bert, scorer, *OWN, "reuse.keep=false")
    assert plain.drive() is not None
    return folder, scorer


def with_foreign_keys(night):
    """Give its first part the keys of many more pairs."""
    store, (part, *_) = night.store, night.prepared.plan.parts
    own = from_bytes(store.read(keys_name(part.name)))
    dice = np.random.default_rng(0)
    hashes = dice.integers(0, 2**64, (FOREIGN, 2), np.uint64, endpoint=False)
    day = own["day"][0]
    more = pa.table(
        {
            "hash": as_binary(hashes),
            "score": dice.normal(size=FOREIGN).astype(np.float32),
            "day": pa.repeat(day, FOREIGN),
        }
    )
    data = to_bytes(pa.concat_tables([own, more]))
    store.write(keys_name(part.name), data)
    receipt = json.loads(store.read(f"_receipts/{part.name}.json"))
    receipt["keys"] |= {
        "pairs": receipt["keys"]["pairs"] + FOREIGN,
        "size": len(data),
        "md5": md5(data, usedforsecurity=False).hexdigest(),
    }
    store.write(f"_receipts/{part.name}.json", json.dumps(receipt).encode())


def arguments(folder, output, head, model, *more):
    return [
        f"input.path={folder}/second",
        f"output.path={output}",
        f"model.path={model}",
        f"ray.address={head.address}",
        f"reuse.from={folder}/earlier",
        *OWN,
        *more,
    ]


def assert_undisturbed(nights, output, model):
    """It is the output without reuse, says what it has from where, and the next night finds all."""
    folder, scorer = nights
    settings = *OWN, f"reuse.from={output}", "reuse.check=0"
    following = Night(folder / "second", f"{output}-next", model, scorer, *settings)
    assert following.drive() is not None
    assert following.forwarded == 0
    names = [f"{part.name}.parquet" for part in following.prepared.plan.parts]
    assert len(names) == ROWS // PART == receipts(output)
    assert sorted(path.name for path in output.glob("*.parquet")) == sorted(names)
    for name in names:
        assert pq.read_table(output / name).equals(pq.read_table(folder / "plain" / name))
    manifest = json.loads((output / "_manifest.json").read_text())
    assert [each["url"] for each in manifest["reuse"]["from"]] == [str(folder / "earlier")]
    assert (
        manifest["reuse"]["pairs"] + manifest["distinct_pairs"]
        == ROWS + (manifest["reuse"]["checked"])
    )
    assert manifest["reuse"]["pairs"] == ROWS // 2


def builder(head, cache):
    """The process that builds an index now."""
    if not any(cache.glob("batch-reranker/reuse/*/bucket-*")):
        return None
    for process in head.processes():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            paths = [each.path for each in process.open_files()]
            if any("/reuse/" in path and "/bucket-" in path for path in paths):
                return process
    return None


def test_an_index_whose_builders_and_driver_are_killed_is_built_again(
    nights, head, cache, bert, tmp_path
):
    given = arguments(nights[0], tmp_path / "out", head, bert)
    killed = []

    def the_second_one_builds():
        found = builder(head, cache)
        if found is None or found in killed:
            return False
        if not killed:
            found.kill()
            killed.append(found)
            return False
        return True

    kill(given, when=the_second_one_builds, then=0.0)
    assert killed
    assert not receipts(tmp_path / "out")
    finish(given)
    assert len(list(cache.glob("batch-reranker/reuse/*/index.json"))) == 1
    assert not list(cache.glob("batch-reranker/reuse/*/bucket-*"))
    assert_undisturbed(nights, tmp_path / "out", bert)


def test_a_night_whose_workers_and_driver_are_killed_while_it_scores_is_resumed(
    nights, head, bert, tmp_path
):
    output = tmp_path / "out"
    given = arguments(nights[0], output, head, bert)
    killed = []

    def after_a_worker():
        found = receipts(output)
        if not killed and found >= 2:
            at_work = [each for each in head.processes() if "MapBatches(" in each.name()]
            victim = random.choice(at_work)
            victim.kill()
            killed.append((victim, found))
        return bool(killed) and found >= killed[0][1] + 4

    kill(given, when=after_a_worker, then=0.0)
    assert 6 <= receipts(output) < ROWS // PART
    finish(given)
    assert_undisturbed(nights, output, bert)
