"""A flat input from the first run to changed columns."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from reranker_core.command.derive import derive
from tests.running import read_output, run_here
from tests.texts import flat_table

pytestmark = pytest.mark.slow


def test_flat_shards_come_out_row_for_row_with_their_scores(rerank, score, bert, tmp_path):
    shards = {
        "a": flat_table(900, seed=1),
        "b": flat_table(333, seed=2),
        "c": flat_table(0, seed=3),
    }
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "_SUCCESS").touch()
    pq.write_table(shards["a"], tmp_path / "in/a.parquet", row_group_size=50)
    pq.write_table(shards["b"], tmp_path / "in/b.parquet", compression="gzip")
    pq.write_table(shards["c"], tmp_path / "in/c.parquet")

    settings = ("plan.part_rows=200", "output.rank=true", "output.normalize=sigmoid")
    rerank(tmp_path / "in", tmp_path / "out", *settings)

    found = read_output(tmp_path / "out")
    expected = pa.concat_tables([shards["a"], shards["b"]])
    kept = ["bm25", "doc_id", "query_id", "when"]
    assert found.column_names == [*kept, "score", "score_normalized", "rank", "status"]
    assert found.select(kept).cast(expected.select(kept).schema).equals(expected.select(kept))
    pairs = list(zip(*(expected[name].to_pylist() for name in ("query", "passage")), strict=True))
    assert found["score"].type == pa.float32()
    np.testing.assert_allclose(found["score"].to_numpy(), score(pairs), rtol=1e-5, atol=1e-5)
    for query in found.select(["query_id", "score", "rank"]).to_pandas().groupby("query_id"):
        by_rank = query[1].sort_values("rank")
        assert by_rank["rank"].tolist() == list(range(1, len(by_rank) + 1))
        assert by_rank["score"].is_monotonic_decreasing
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert (tmp_path / "out/_SUCCESS").exists()
    assert manifest["rows"] == manifest["scored"] == 1233
    assert manifest["passed_over"] == {"hidden": 1}
    assert json.loads((tmp_path / "out/_preflight.json").read_text())["replicas"]

    assert (manifest["model"]["path"], manifest["model"]["revision"]) == (str(bert), None)
    assert manifest["input"] | {"bytes": 0} == {
        "path": str(tmp_path / "in"),
        "layout": "flat",
        "shards": 3,
        "rows": 1233,
        "bytes": 0,
        "snapshots": {},
    }
    assert manifest["software"]["ray"] == ray.__version__
    (attempt,) = manifest["attempts"]
    assert (attempt["outcome"], attempt["parts"], attempt["pairs"]) == ("scored", 7, 1233)
    assert attempt["start"] < attempt["end"]
    assert attempt["replicas"][0]["device"] == "cpu"
    assert attempt["cpu_hours"] > 0
    assert "1,233 of 1,233 pairs have a score" in (tmp_path / "out/_report.html").read_text()

    again = ("--like", str(tmp_path / "out"))
    assert "7 parts" in run_here(*again, f"output.path={tmp_path / 'again'}", "--dry-run")

    changes = ["output.rank=false", "output.text=true", "output.columns.score=relevance"]
    command = [str(tmp_path / "out"), "--to", str(tmp_path / "derived"), *changes]
    derive.main(command, standalone_mode=False)
    derived = read_output(tmp_path / "derived")
    assert derived["relevance"].equals(found["score"])
    assert derived.select(["query", "passage"]).equals(expected.select(["query", "passage"]))
    assert "rank" not in derived.column_names
    told = json.loads((tmp_path / "derived/_manifest.json").read_text())
    assert told["derived_from"] == str(tmp_path / "out")
    rerank(tmp_path / "in", tmp_path / "derived", "plan.part_rows=200", settings[2], *changes)

    (partly,) = (tmp_path / "out/_receipts").glob("b-0000000000-*")
    partly.unlink()  # so the scores of one part are lost
    rerank(tmp_path / "in", tmp_path / "out", *settings, *changes)
    changed = read_output(tmp_path / "out")
    assert changed.column_names == derived.column_names
    np.testing.assert_allclose(changed["relevance"], found["score"], rtol=1e-5, atol=1e-5)
    rerank(tmp_path / "in", tmp_path / "out", *settings)

    before = times(tmp_path / "out")
    printed = rerank(tmp_path / "in", tmp_path / "out", *settings, "model.max_length=32", expect=6)
    assert "  model.max_length: 130 before, 32 now" in printed
    assert "query_max_length" not in printed
    for shard in (tmp_path / "in").glob("*.parquet"):
        os.utime(shard, (1, 1))  # the same bytes
    rerank(tmp_path / "in", tmp_path / "out", *settings)
    assert times(tmp_path / "out") == before


def times(output):
    return {path: path.stat().st_mtime_ns for path in output.glob("*.parquet")}


def test_a_value_beyond_the_common_type_is_told_by_shard_and_row(rerank, tmp_path):
    (tmp_path / "in").mkdir()
    for name, unit, moment in (("a", "ns", 1), ("b", "us", 2**60)):
        when = pa.array([moment] * 20, pa.timestamp(unit))
        table = flat_table(20, seed=1).drop_columns(["when"]).append_column("when", when)
        pq.write_table(table, tmp_path / f"in/{name}.parquet")
    told = rerank(tmp_path / "in", tmp_path / "out", expect=2)
    assert f"{tmp_path}/in/b.parquet, rows 0 to 19: column 'when': cannot convert" in told
