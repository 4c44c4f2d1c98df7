"""Two nights: the second one scores what is new, and its output is the one without reuse.

Real code from plan to `_SUCCESS`, with real models; hypothesis chooses what changes between them.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reranker_core.encode.sequences import TokenSequences
from reranker_core.errors import ReuseRefused
from reranker_core.models.scores import Scores
from reranker_core.output.receipts import FOLDER
from reranker_core.report.summary import print_plan
from reranker_core.report.workload import workload
from reranker_core.reuse.keys import keys_name
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from tests.reusing import SETTINGS, Night, examples, flat_of, nested_of, structs_of
from tests.running import ROOT
from tests.tables import STRUCT_COLUMNS, config, write

QUERIES = ["sort a list", "sort a lisT", "read a file", "", "x" * 30, None]
PASSAGES = ["Sort the list in place.", "Sort the list in place", "é", "e\u0301", " ", "", None]
PASSAGES += ["Read the whole file into memory at once. " * 12, "Read a line. " * 2 + "[SEP]"]
INSTRUCTIONS = ["find", "Find", "", None]
ROWS = st.lists(st.tuples(st.sampled_from(QUERIES), st.sampled_from(PASSAGES)), max_size=14)
KINDS = {
    "plain": (),
    "chunked": (
        "model.max_length=32",
        "model.long_passage=mean_top_k",
        "model.chunk_overlap=4",
        "output.chunks=true",
        "output.tokens_lost=true",
        "output.rank=false",
    ),
    "layered": ("model.cutoff_layer=[2, 3]",),
    "instructed": ("input.columns.instruction=instruction", "model.template=qwen3-reranker"),
}
LAYOUTS: dict[str, tuple[Callable[..., pa.Table], tuple[str, ...]]] = {
    "flat": (flat_of, ()),
    "nested": (nested_of, ()),
    "structs": (structs_of, STRUCT_COLUMNS),
}
Pairs = list[tuple[str | None, str | None]]
DEMO = ROOT / "demo/model"
MODELS = {"layered": "minicpm_layerwise", "instructed": "qwen3"}
FIRST: Pairs = [(f"query {n // 3}", f"passage {n}") for n in range(10)]
SECOND: Pairs = [*FIRST[4:], ("query 9", "passage 0"), *FIRST[:2]]


class Altered:
    """A scorer whose scores are changed by `change`."""

    def __init__(self, scorer: Scorer, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self._scorer, self._change = scorer, change

    def score(self, sequences: TokenSequences) -> Scores:
        scores = self._scorer.score(sequences)
        return replace(scores, values=self._change(scores.values.copy()))


def night_of(folder: Path, name: str, rows: Pairs, scorer: Any, *overrides: str) -> Night:
    """A night that is prepared, of rows in one shard."""
    write(folder / f"{name}-in/a.parquet", flat_of(rows))
    return Night(folder / f"{name}-in", folder / name, DEMO, scorer, *overrides)


def first_night(folder: Path, scorer: Any) -> str:
    night_of(folder, "first", FIRST, scorer).drive()
    return f"reuse.from={folder / 'first'}"


def equal(one: Night, other: Night) -> bool:
    return [t.to_pydict() for t in one.tables()] == [t.to_pydict() for t in other.tables()]


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> tuple[Path, Scorer, tuple[str, ...]]:
    folder = request.getfixturevalue(MODELS[request.param]) if request.param in MODELS else DEMO
    overrides = KINDS[request.param]
    if request.param == "plain":
        return folder, request.getfixturevalue("demo"), overrides
    scorer = load_scorer(config("in", "out", *SETTINGS, *overrides, model=folder))
    return folder, scorer, overrides


@pytest.fixture(scope="module")
def demo() -> Scorer:
    return load_scorer(config("in", "out", *SETTINGS, model=DEMO))


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@st.composite
def edited(draw: st.DrawFn, text: str | None) -> str | None:
    """The text with another character somewhere, or one more, or one less."""
    if text is None:
        return ""
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.sampled_from(["", "e", "E", " ", "\u00e9"])) + text[at + 1 :]


@st.composite
def changed(draw: st.DrawFn, before: Pairs) -> Pairs:
    """Some of the rows, moved, a few of them twice or with an edited text, among new ones."""
    kept = []
    for row in before:
        what = draw(st.sampled_from(["kept", "kept", "kept", "twice", "gone", "query", "passage"]))
        query, passage = row
        if what == "query":
            row = draw(edited(query)), passage
        elif what == "passage":
            row = query, draw(edited(passage))
        kept += [] if what == "gone" else [row] * (1 + (what == "twice"))
    return draw(st.permutations([*kept, *draw(ROWS)]))


@st.composite
def shards(draw: st.DrawFn, rows: Pairs, layout: str) -> dict[str, pa.Table]:
    """The rows in files of any names and sizes."""
    cuts = sorted(draw(st.sets(st.integers(0, len(rows)), max_size=2)))
    names = draw(st.permutations(["a", "b", "c"]))
    bounds = zip([0, *cuts], [*cuts, len(rows)], strict=True)
    found = {}
    for name, (start, stop) in zip(names, bounds, strict=False):
        table = LAYOUTS[layout][0](rows[start:stop])
        own = draw(st.lists(st.sampled_from(INSTRUCTIONS), min_size=len(table)))
        values = pa.array(own[: len(table)], pa.string())
        found[name] = table.append_column("instruction", values)
    return found


def distinct(night: Night) -> list[set[tuple[str, str, str | None]]]:
    """The pairs of each part that can be scored, with their instructions, read without the job's
    code.
    """
    found = []
    for part in night.prepared.plan.parts:
        table = pa.parquet.read_table(part.shard).slice(part.start, part.stop - part.start)
        pairs = set()
        for row in table.to_pylist():
            several = row.get("candidates", row.get("passage"))
            passages = [
                each["passage"] if isinstance(each, dict) else each
                for each in (several if isinstance(several, list) else [several])
            ]
            query, own = row["query"], row.get(night.prepared.config.input.columns.instruction)
            pairs |= {(query, text, own) for text in passages if None not in (query, text)}
        found.append(pairs)
    return found


@pytest.mark.slow
@given(data=st.data())
@examples(6)
def test_the_second_night_scores_what_is_new_and_is_the_one_without_reuse(
    model: tuple[Path, Scorer, tuple[str, ...]], data: Any
):
    folder = Path(tempfile.mkdtemp())
    path, scorer, overrides = model

    def write_night(name: str, rows: Pairs) -> None:
        layouts[name] = data.draw(st.sampled_from([*LAYOUTS]))
        for shard, table in data.draw(shards(rows, layouts[name])).items():
            write(folder / name / f"{shard}.parquet", table)

    def night(source: str, output: str, *more: str) -> Night:
        settings = (*overrides, *LAYOUTS[layouts[source]][1], *more)
        found = Night(folder / source, folder / output, path, scorer, *settings)
        assert found.drive() is not None
        return found

    try:
        layouts: dict[str, str] = {}
        first = data.draw(ROWS.filter(len))
        write_night("first", first)
        write_night("second", data.draw(changed(first).filter(len)))
        parts_of = f"plan.part_rows={data.draw(st.sampled_from([1, 4, 50]))}"
        earlier = [night("first", "before", parts_of)]
        if data.draw(st.booleans()):  # two outputs, which may have the same pairs
            write_night("other", data.draw(changed(first).filter(len)))
            earlier.append(night("other", "before-too"))
        known = set()
        for each in earlier:
            for part, pairs in zip(each.prepared.plan.parts, distinct(each), strict=True):
                if data.draw(st.integers(0, 5)):
                    known |= pairs
                else:  # its keys are lost
                    each.store.delete(keys_name(part.name))
        sources = ", ".join(each.store.url for each in earlier)
        plain = night("second", "plain", "reuse.keep=false")
        reused = night("second", "reused", f"reuse.from=[{sources}]", "reuse.check=0")
        for one, other in zip(plain.tables(), reused.tables(), strict=True):
            assert one.equals(other)
        parts = distinct(reused)
        assert reused.forwarded == sum(len(pairs - known) for pairs in parts)
        assert reused.manifest.get("reuse", {"pairs": 0})["pairs"] == sum(
            len(pairs & known) for pairs in parts
        )
        # A third night finds all in the second one.
        third = night("second", "third", f"reuse.from={folder / 'reused'}", "reuse.check=0")
        assert third.forwarded == 0
        assert [t.to_pydict() for t in third.tables()] == [t.to_pydict() for t in plain.tables()]
    finally:
        shutil.rmtree(folder)


def test_a_score_that_is_computed_otherwise_now_ends_the_run_with_nothing_written(
    tmp_path: Path, demo: Scorer
):
    earlier = first_night(tmp_path, demo)
    for name, change in (
        ("more", lambda values: values + 1),
        ("nan", lambda values: values * np.nan),
    ):
        night = night_of(tmp_path, name, SECOND, Altered(demo, change), earlier)
        with pytest.raises(ReuseRefused, match=r"reuse\.check: a pair was scored") as refused:
            night.drive()
        assert refused.value.exit_code == 3
        assert not [*night.store.list(FOLDER), *(tmp_path / name).glob("*.parquet")]


def test_pairs_that_are_compared_keep_the_earlier_score(tmp_path: Path, demo: Scorer):
    earlier = first_night(tmp_path, demo)
    slightly = Altered(demo, lambda values: values + np.float32(1e-4))
    night = night_of(tmp_path, "second", SECOND[:6], slightly, earlier, "reuse.check=1")
    night.drive()
    assert night.forwarded == night.manifest["reuse"]["checked"] == 6
    plain = night_of(tmp_path, "plain", SECOND[:6], demo)
    plain.drive()
    assert equal(night, plain)


def test_one_pair_of_each_part_is_compared_at_least(tmp_path: Path, demo: Scorer):
    night = night_of(tmp_path, "second", FIRST, demo, first_night(tmp_path, demo))
    night.drive()
    assert night.forwarded == len(night.prepared.plan.parts) == 3


def test_pairs_without_a_score_are_tried_again(tmp_path: Path, demo: Scorer):
    def one_missing(values: np.ndarray) -> np.ndarray:
        values[1] = np.nan
        return values

    earlier = first_night(tmp_path, Altered(demo, one_missing))
    night = night_of(tmp_path, "second", FIRST, demo, earlier, "reuse.check=0")
    night.drive()
    assert night.forwarded == 3
    assert night.manifest["scored"] == 10


@pytest.mark.parametrize("rest", ["the same", "without", "another"])
def test_an_interrupted_night_is_finished_with_whatever_is_there(
    tmp_path: Path, demo: Scorer, rest: str
):
    earlier = first_night(tmp_path, demo)
    night_of(tmp_path, "other", SECOND[:5], demo).drive()
    assert night_of(tmp_path, "second", SECOND, demo, earlier).drive(most=1) is None
    given = {"the same": [earlier], "without": [], "another": [f"reuse.from={tmp_path}/other"]}
    night = Night(tmp_path / "second-in", tmp_path / "second", DEMO, demo, *given[rest])
    night.drive()
    plain = night_of(tmp_path, "plain", SECOND, demo)
    plain.drive()
    assert equal(night, plain)
    assert night.manifest["reuse"]["pairs"] >= 3


def test_the_plan_says_how_much_is_known(tmp_path: Path, demo: Scorer):
    earlier = first_night(tmp_path, demo)
    night = night_of(tmp_path, "second", SECOND, demo, earlier, "model.dtype=auto")
    assert night.prepared.config.model.dtype == night.prepared.fingerprint["dtype"] == "float32"
    assert night.prepared.dtype_reason == "as in the earlier output"
    work, whole = (workload(replace(night.prepared, reuse=r)) for r in (night.prepared.reuse, None))
    assert (work.known, whole.known) == (pytest.approx(8 / 9), None)
    assert work.tokens == pytest.approx(whole.tokens / 9, rel=0.02)
    console = Console(width=200, record=True, file=io.StringIO())
    print_plan(night.prepared, console)
    assert f"up to 10 pairs, from {tmp_path / 'first'}" in console.export_text()


def test_an_output_of_which_some_parts_have_no_keys_gives_what_it_has(tmp_path: Path, demo: Scorer):
    assert night_of(tmp_path, "first", FIRST, demo, "reuse.keep=false").drive(most=1) is None
    Night(tmp_path / "first-in", tmp_path / "first", DEMO, demo).drive()
    earlier = f"reuse.from={tmp_path / 'first'}"
    night = night_of(tmp_path, "second", FIRST, demo, earlier, "reuse.check=0")
    night.drive()
    assert night.forwarded == 4
