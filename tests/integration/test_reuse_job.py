"""Two nights on Ray: the second one, killed and resumed, scores what is new, and that only once."""

import json
from collections import Counter, defaultdict
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from tests.faults.test_killed_driver import kill, receipts
from tests.marks import more
from tests.texts import flat_table

pytestmark = pytest.mark.slow
PART = 100


@pytest.mark.parametrize("killed", [False, more(True)])
def test_a_second_night_scores_what_is_new_also_when_it_is_killed_and_resumed(
    killed, rerank, bert, shared_ray, tmp_path
):
    rows = flat_table(2600, seed=1)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    pq.write_table(rows.slice(0, 1600), tmp_path / "first/a.parquet")
    moved = rows.take(np.random.default_rng(0).permutation(2600))
    again = np.append(np.arange(900, 2600), np.arange(500))
    shards = [moved.slice(0, 900), moved.take(again)]
    pq.write_table(shards[0], tmp_path / "second/x.parquet")
    pq.write_table(shards[1], tmp_path / "second/y.parquet")
    part_rows = f"plan.part_rows={PART}"
    rerank(tmp_path / "first", tmp_path / "night-1", part_rows)

    night = tmp_path / "night-2"
    if killed:
        kill(
            [
                f"input.path={tmp_path}/second",
                f"output.path={night}",
                f"model.path={bert}",
                f"ray.address={shared_ray.address}",
                *("model.dtype=float32", "preflight.checks.meaning=off", part_rows),
                f"reuse.from={tmp_path}/night-1",
                "reuse.within=true",
            ],
            when=lambda: receipts(night / "_within/scores") >= 2,
            then=0.0,
        )
        assert not receipts(night)
    settings = "reuse.from=auto", "reuse.within=true"
    printed = rerank(tmp_path / "second", night, part_rows, *settings)
    assert "earlier scores used" in printed
    assert not (night / "_within").exists()

    before = defaultdict(set)  # the last bits of a pair's score may differ between parts
    scored = zip(rows.slice(0, 1600).to_pylist(), read(tmp_path / "night-1"), strict=True)
    for row, score in scored:
        before[row["query"], row["passage"]].add(score)
    parts = [
        {(row["query"], row["passage"]) for row in shard.slice(start, PART).to_pylist()}
        for shard in shards
        for start in range(0, len(shard), PART)
    ]
    several = {pair for pair, count in Counter(chain.from_iterable(parts)).items() if count > 1}
    assert 400 < len(several) <= 500
    reusable = several | before.keys()
    for row, score in zip(pa.concat_tables(shards).to_pylist(), read(night), strict=True):
        pair = row["query"], row["passage"]
        assert score in before.get(pair, {score})
    manifest = json.loads((night / "_manifest.json").read_text())
    reuse = manifest["reuse"]
    assert reuse["pairs"] == sum(len(part & reusable) for part in parts)
    new = sum(len(part - reusable) for part in parts)
    assert manifest["distinct_pairs"] == new + reuse["checked"]
    assert 0 < reuse["checked"] < 100
    checked_first = reuse["shared_pairs_scored"] - len(several - before.keys())
    assert 0 < checked_first < 100
    earlier, first = (each["url"] for each in reuse["from"])
    assert (earlier, first) == (str(tmp_path / "night-1"), str(night / "_within/scores"))


def read(output):
    """The scores of an output, in the order of its input."""
    table = pyarrow.dataset.dataset(str(output)).to_table()
    assert isinstance(table, pa.Table)
    return table["score"].to_pylist()
