"""Two nights on Ray: the second one, killed and resumed, scores what is new."""

import json
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from tests.faults.test_killed_driver import kill, receipts
from tests.texts import flat_table

pytestmark = pytest.mark.whole_job
PART = 100


def test_a_second_night_that_is_killed_and_resumed_scores_what_is_new(
    rerank, bert, shared_ray, tmp_path
):
    rows = flat_table(2600, seed=1)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    pq.write_table(rows.slice(0, 1600), tmp_path / "first/a.parquet")
    moved = rows.take(np.random.default_rng(0).permutation(2600))
    pq.write_table(moved.slice(0, 900), tmp_path / "second/x.parquet")
    pq.write_table(moved.slice(900), tmp_path / "second/y.parquet")
    part_rows = f"plan.part_rows={PART}"
    rerank(tmp_path / "first", tmp_path / "night-1", part_rows)

    night = tmp_path / "night-2"
    kill(
        [
            f"input.path={tmp_path}/second",
            f"output.path={night}",
            f"model.path={bert}",
            f"ray.address={shared_ray.address}",
            *("model.dtype=float32", "preflight.checks.meaning=off", part_rows),
            f"reuse.from={tmp_path}/night-1",
        ],
        when=lambda: receipts(night) >= 2,
        then=0.0,
    )
    assert not (night / "_SUCCESS").exists()
    printed = rerank(tmp_path / "second", night, part_rows, "reuse.from=auto")
    assert "earlier scores used" in printed

    before = defaultdict(set)  # the last bits of a pair's score may differ between parts
    scored = zip(rows.slice(0, 1600).to_pylist(), read(tmp_path / "night-1"), strict=True)
    for row, score in scored:
        before[row["query"], row["passage"]].add(score)
    known = forwarded = 0
    scores = read(night)
    for shard in (moved.slice(0, 900), moved.slice(900)):
        for start in range(0, len(shard), PART):
            part = shard.slice(start, PART).to_pylist()
            pairs = {(row["query"], row["passage"]) for row in part}
            known += len(pairs & before.keys())
            forwarded += len(pairs - before.keys())
    for row, score in zip(moved.to_pylist(), scores, strict=True):
        pair = row["query"], row["passage"]
        assert score in before.get(pair, {score})
    manifest = json.loads((night / "_manifest.json").read_text())
    reuse = manifest["reuse"]
    assert (reuse["pairs"], manifest["distinct_pairs"]) == (known, forwarded + reuse["checked"])
    assert 0 < reuse["checked"] < 100
    assert [each["url"] for each in reuse["from"]] == [str(tmp_path / "night-1")]


def read(output):
    """The scores of an output, in the order of its input."""
    table = pyarrow.dataset.dataset(str(output)).to_table()
    assert isinstance(table, pa.Table)
    return table["score"].to_pylist()
