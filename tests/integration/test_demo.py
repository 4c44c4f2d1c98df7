"""`make demo ARGS=--two-nights`: the second night takes the scores of all equal texts."""

import json
import subprocess
import sys

import pyarrow.dataset as ds
import pytest

from tests.running import ROOT, read_output

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

QUERIES = 10


def test_the_second_night_of_the_demo_scores_what_has_changed(shared_ray, tmp_path):
    for name in ("demo", "configs", "jobs"):  # so that a demo of the user's own stays
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "demo.run", "--queries", str(QUERIES), "--two-nights"]
    done = subprocess.run(
        [*command, f"ray.address={shared_ray.address}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "4. The next night" in done.stdout

    nights = [tmp_path / "out/demo", tmp_path / "out/demo/next"]
    first, second = (pairs(night) for night in nights)
    changed = second.keys() - first.keys()
    assert len(changed) == QUERIES
    assert all(passage.endswith(" (changed)") for _, passage in changed)
    assert all(second[pair] == first[pair] for pair in second.keys() & first.keys())
    manifest = json.loads((nights[1] / "scores/_manifest.json").read_text())
    reuse = manifest["reuse"]
    assert [each["url"] for each in reuse["from"]] == [str(nights[0] / "scores")]
    assert reuse["pairs"] == len(second) - len(changed)
    assert manifest["distinct_pairs"] == len(changed) + reuse["checked"]


def pairs(night):
    """(query, passage) -> score."""
    texts = ds.dataset(night / "input").to_table(columns=["query", "passage"]).to_pylist()
    scores = read_output(night / "scores")["score"].to_pylist()
    return {(row["query"], row["passage"]): s for row, s in zip(texts, scores, strict=True)}
