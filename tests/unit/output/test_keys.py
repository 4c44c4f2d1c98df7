"""The keys of a part: beside its data, from its data, and known to the proof."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reranker_core.errors import Incomplete
from reranker_core.input.pairs import find_pairs
from reranker_core.output.commit import data_name
from reranker_core.output.keys import commit_keys
from reranker_core.output.proof import prove
from reranker_core.output.receipts import receipt_name
from reranker_core.reuse.hashes import pair_hashes
from reranker_core.reuse.keys import as_binary, keys_name, today
from tests.outputs import Output, scored_part, sizes
from tests.tables import flat, nested, write


@pytest.fixture
def output(tmp_path: Path) -> Output:
    write(tmp_path / "in/a.parquet", flat(10))
    found = Output(tmp_path / "in", tmp_path / "out")
    found.claim()
    return found


def keys_of(output: Output, number: int = 0) -> pa.Table:
    return pq.read_table(io.BytesIO(output.store.read(keys_name(output.plan.parts[number].name))))


def expected(table: pa.Table, output: Output, scores: list[float | None]) -> dict[bytes, float]:
    """Hash -> score of the pairs of a table that have one."""
    pairs = find_pairs(table, output.plan.schema)
    hashes = as_binary(pair_hashes(pairs)).to_pylist()
    return {
        hashes[which]: score
        for which, score in zip(pairs.distinct_of, scores, strict=True)
        if score is not None and which >= 0
    }


@pytest.mark.parametrize(
    ("table", "overrides"),
    [
        (flat(4), ()),
        (flat(4, query=["q"] * 4, doc_id=[*"abbc"], passage=["p", "p2", "p2", None]), ()),
        (nested([2, 0, 2]), ()),
    ],
)
def test_keys_are_the_hashes_and_scores_of_the_distinct_pairs(tmp_path, table, overrides):
    write(tmp_path / "in/a.parquet", table)
    output = Output(tmp_path / "in", tmp_path / "out", *overrides)
    receipt = output.commit(output.plan.parts[0], bad=1)
    written = data_of(output)
    scores = written["score"].combine_chunks()
    scores = scores.flatten() if output.plan.schema.nested else scores
    found = keys_of(output)
    hashes = found["hash"].to_pylist()
    rows = table.slice(0, output.plan.parts[0].stop)
    assert dict(zip(hashes, found["score"].to_pylist(), strict=True)) == expected(
        rows, output, scores.to_pylist()
    )
    assert hashes == sorted(hashes)
    assert receipt.keys["pairs"] == len(hashes)
    assert set(found["day"].cast(pa.int32()).to_pylist()) == {today()}


def test_no_keys_are_written_if_they_are_not_to_be_kept(tmp_path: Path, output: Output):
    other = Output(tmp_path / "in", tmp_path / "other", "reuse.keep=false")
    assert other.digest == output.digest
    part = output.plan.parts[0]
    assert other.commit(part).keys == {}
    output.commit(part)
    more = set(sizes(output.store)) - set(sizes(other.store)) - {"_run.json"}
    assert more == {keys_name(part.name)}
    assert output.store.read(data_name(part.name)) == other.store.read(data_name(part.name))


def test_of_two_attempts_with_other_scores_the_keys_are_those_of_the_data_file(output: Output):
    part = output.plan.parts[0]
    first = output.commit(part)
    output.store.delete(receipt_name(part.name), keys_name(part.name))
    second = output.commit(part, noise=1e-3)
    assert first.keys == second.keys
    table = data_of(output)
    assert sorted(keys_of(output)["score"].to_pylist()) == sorted(table["score"].to_pylist())


def data_of(output: Output) -> pa.Table:
    return pq.read_table(io.BytesIO(output.store.read(data_name(output.plan.parts[0].name))))


def test_keys_of_another_day_stay_and_keys_of_other_scores_do_not(output, monkeypatch):
    part = output.plan.parts[0]
    before = output.commit(part).keys
    monkeypatch.setattr("reranker_core.output.keys.today", lambda: today() + 1)
    assert output.commit(part).keys == before
    other = scored_part(part, output.plan.schema, noise=1.0)
    stale = commit_keys(output.store, part.name, other, output.config.output)
    assert stale != before
    again = output.commit(part).keys
    assert (again["pairs"], again != stale) == (before["pairs"], True)


def test_wrong_keys_are_found_and_missing_ones_are_told(output: Output, caplog):
    output.commit_all()
    assert prove(output.store, output.run, read_all=False).keys == 10
    name = keys_name(output.plan.parts[1].name)
    data = output.store.read(name)
    for damaged in (data[:-1], data[:-1] + bytes([data[-1] ^ 1])):
        output.store.write(name, damaged)
        with pytest.raises(Incomplete, match=name):
            prove(output.store, output.run, read_all=False)
    output.store.delete(name)
    with caplog.at_level("WARNING"):
        assert prove(output.store, output.run, read_all=False).without_keys == 1
    assert "the keys of 1 part are missing" in caplog.text


def test_keys_go_with_their_part(tmp_path: Path, output: Output):
    output.drive()
    write(tmp_path / "in/a.parquet", flat(10, first=50))
    changed = Output(tmp_path / "in", tmp_path / "out", "input.changed=rescore")
    changed.drive()
    kept = [name for name in sizes(output.store) if name.startswith("_keys/")]
    assert sorted(kept) == sorted(keys_name(part.name) for part in changed.plan.parts)


def test_scores_of_lower_layers_and_counts_are_kept_where_the_output_has_them(output: Output):
    part = output.plan.parts[0]
    scored = scored_part(part, output.plan.schema)
    lower = scored.score - np.float32(1)
    scored = replace(scored, layers={8: lower})
    config = output.config.output.model_copy(update={"chunks": True, "tokens_lost": True})
    commit_keys(output.store, part.name, scored, config)
    found = keys_of(output)
    assert found.column_names == ["hash", "score", "layer_8", "chunks", "tokens_lost", "day"]
    one, other = found["layer_8"].to_numpy(), found["score"].to_numpy()
    assert (one == other - np.float32(1)).all()
