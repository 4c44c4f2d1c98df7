"""`reuse.within`: pairs of several parts are scored once, and the output is the one without it."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reranker_core.input.plan import make_plan
from reranker_core.input.reading import read_parts
from reranker_core.output.lease import Lease
from reranker_core.output.shared_pairs import SharedPairs
from reranker_core.pipeline.within import run_of, with_shared_pairs
from reranker_core.prepare import Prepared
from reranker_core.report.summary import print_plan
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from reranker_core.storage.store import Store
from tests.reusing import SETTINGS, Night, examples, find_shared, flat_of, nested_of, score_shared
from tests.running import ROOT
from tests.tables import config, write

DEMO = ROOT / "demo/model"
# Some pairs come often, some once. Null and "" are different, and not all have scores.
PAIR = st.tuples(
    st.sampled_from(["sort a list", "read a file", "", None]),
    st.sampled_from(["Sort it.", "sort it.", "é", "e\u0301", "", None, "Read it. " * 9])
    | st.integers(0, 99).map(str),
)


@pytest.fixture(scope="module")
def demo() -> Scorer:
    return load_scorer(config("in", "out", *SETTINGS, model=DEMO))


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def in_parts(night: Night) -> Counter[tuple[str, str]]:
    """In how many parts each pair that can be scored is, read without the job's code."""
    counts: Counter[tuple[str, str]] = Counter()
    for part in night.prepared.plan.parts:
        rows = pq.read_table(part.shard).slice(part.start, part.stop - part.start).to_pylist()
        pairs = set()
        for row in rows:
            passages = row["passage"] if isinstance(row["passage"], list) else [row["passage"]]
            pairs |= {(row["query"], text) for text in passages}
        counts.update((query, text) for query, text in pairs if None not in (query, text))
    return counts


@pytest.mark.slow
@given(data=st.data())
@examples(5)
def test_each_pair_is_forwarded_once_and_the_output_is_the_one_without(demo: Scorer, data: Any):
    folder = Path(tempfile.mkdtemp())
    try:
        make = data.draw(st.sampled_from([flat_of, nested_of]))
        for name in data.draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True)):
            rows = data.draw(st.lists(PAIR, min_size=1, max_size=14))
            write(folder / f"in/{name}.parquet", make(rows))
        plain = Night(folder / "in", folder / "plain", DEMO, demo, "reuse.keep=false")
        assert plain.drive() is not None
        night = Night(folder / "in", folder / "out", DEMO, demo, "reuse.check=0")
        counts = in_parts(night)
        several = sum(count > 1 for count in counts.values())
        with suppress(StopIteration):
            find_shared(night.prepared, lives=data.draw(st.integers(0, 9)))
        shared, pairs = find_shared(night.prepared)
        assert pairs == several == shared.ready(part.name for part in night.prepared.todo)
        if pairs:
            assert score_shared(night, shared) == several
        assert night.drive() is not None
        assert night.forwarded == len(counts) - several
        for one, other in zip(plain.tables(), night.tables(), strict=True):
            assert one.equals(other)
        if pairs:
            reuse = night.manifest["reuse"]
            assert reuse["shared_pairs_scored"] == several
            assert reuse["pairs"] == sum(count for count in counts.values() if count > 1)
        shared.remove()
        assert not (folder / "out/_within").exists()
    finally:
        shutil.rmtree(folder)


def shards(folder: Path) -> Path:
    """Two shards with three pairs in common."""
    rows = [("query", f"passage {number}") for number in range(9)]
    write(folder / "in/a.parquet", flat_of(rows[:6]))
    write(folder / "in/b.parquet", flat_of(rows[3:]))
    return folder / "in"


def test_shared_pairs_that_an_earlier_output_has_are_not_scored(tmp_path: Path, demo: Scorer):
    source = shards(tmp_path)
    assert Night(source, tmp_path / "one", DEMO, demo).drive() is not None
    settings = (f"reuse.from={tmp_path}/one", "reuse.check=0", "reuse.max_age_days=0")
    night = Night(source, tmp_path / "two", DEMO, demo, *settings)
    shared, pairs = find_shared(night.prepared)
    assert (pairs, score_shared(night, shared)) == (3, 0)
    night.drive()
    assert night.forwarded == 0


def test_a_single_part_that_is_left_uses_the_scores_of_shared_pairs(tmp_path: Path, demo: Scorer):
    night = Night(shards(tmp_path), tmp_path / "out", DEMO, demo, "reuse.within=true")
    shared, _ = find_shared(night.prepared)
    outstanding = replace(night.prepared.outstanding, todo=night.prepared.todo[:1])
    left = replace(night.prepared, outstanding=outstanding)
    score_shared(night, shared)
    ran: list[Prepared] = []
    with Lease.acquire(night.store) as lease:
        found = with_shared_pairs(left, lease, ran.append)
        shared.remove()
        alone = with_shared_pairs(left, lease, ran.append)
    assert found.reuse is not None
    assert alone.reuse is None
    assert len(ran) == 1


def test_instructions_belong_to_the_pair(tmp_path: Path, output_url: str):
    for name, own in (("a", ["find", "find", None]), ("b", ["find", "sort", ""])):
        rows = flat_of([("q", "one"), ("q", "two"), ("q", "three")])
        write(tmp_path / f"in/{name}.parquet", rows.append_column("i", pa.array(own, pa.string())))
    plan = make_plan(config(tmp_path / "in", output_url, "input.columns.instruction=i"))
    shared, tables = SharedPairs(Store(output_url)), {}
    for part in plan.parts:
        ((_, tables[part.name]),) = read_parts([part], plan.schema.columns)
        shared.write_hashes(part.name, tables[part.name], plan.schema)
    (owner,), count = shared.share_out(tables)
    shared.write_pairs(owner, tables[owner], plan.schema)
    rows = pq.read_table(io.BytesIO(shared.store.read(f"pairs/{owner}.parquet")))
    texts = rows.select(["query", "passage", "instruction"]).to_pylist()
    assert texts == [{"query": "q", "passage": "one", "instruction": "find"}]
    assert count == 1
    shared.remove()
    assert not list(Store(output_url).list())


def test_the_plan_says_how_many_pairs_are_in_several_parts_once_it_is_known(
    tmp_path: Path, demo: Scorer
):
    night = Night(shards(tmp_path), tmp_path / "out", DEMO, demo, "reuse.within=true")
    console = Console(width=200, record=True, file=io.StringIO())
    print_plan(night.prepared, console)
    assert "the run finds them first" in console.export_text()
    find_shared(night.prepared)
    print_plan(night.prepared, console)
    assert "pairs in several parts  3, each is scored once" in console.export_text()


def test_pairs_that_were_found_for_other_parts_are_looked_for_again(tmp_path: Path, demo: Scorer):
    night = Night(shards(tmp_path), tmp_path / "out", DEMO, demo)
    shared, _ = find_shared(night.prepared)
    names = [part.name for part in night.prepared.todo]
    assert shared.ready(names[1:]) == shared.ready(names) == 3
    assert shared.ready([*names, "another"]) is None
    assert shared.begin(set(names[1:])) == set(names[1:])
    assert shared.ready(names[1:]) is None
    assert not list(shared.store.list("pairs"))


def test_scores_of_another_model_are_removed_if_the_output_was_never_begun(
    tmp_path: Path, demo: Scorer
):
    night = Night(shards(tmp_path), tmp_path / "out", DEMO, demo)
    shared, _ = find_shared(night.prepared)
    assert Night.of(run_of(night.prepared, shared), demo).drive() is not None
    shared.scores.write("_lease/000007.json", b"{}")
    other = Night(tmp_path / "in", tmp_path / "out", DEMO, demo, "model.max_length=99")
    assert score_shared(other, shared) == 3
    shared.begin(set())
    assert [each.name for each in shared.store.list()] == ["scores/_lease/000007.json"]
