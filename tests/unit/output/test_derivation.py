"""A derived output is what the job would have written with these settings."""

import json
import os

import pytest

from reranker_core.errors import ConfigError, Incomplete, OutputConflict
from reranker_core.input.reading import read_parts
from reranker_core.output.attempts import Recorder
from reranker_core.output.commit import commit, data_name
from reranker_core.output.derivation import (
    derivation_in_place,
    prepare_derivation,
    take_scores,
)
from reranker_core.output.identity import (
    claim,
    digest,
    fingerprint_for,
    identity,
    refuse_differences,
)
from reranker_core.output.manifest import SUCCESS, conclude
from reranker_core.reuse.keys import from_bytes, keys_name
from reranker_core.storage.store import Store
from tests.outputs import Output
from tests.tables import STRUCT_COLUMNS, flat, nested, structs, write

LAYOUTS = {
    "flat": (lambda: flat(22, per_query=3, lang=["en", "de"] * 11), ()),
    "nested": (lambda: nested([3, 0, 2, 5, 1, 4]), ()),
    "structs": (lambda: structs([3, 0, 2, 5]), STRUCT_COLUMNS),
}
SETTINGS = (
    "output.rank=true",
    "output.normalize=sigmoid",
    "output.label_thresholds=[2.0, 5.0]",
    "output.text=true",
    "output.columns.score=relevance",
)


def finished(folder, *overrides, name="out", bad=1):
    output = Output(folder / "in", folder / name, "guard.max_quarantined_fraction=1", *overrides)
    output.claim()
    output.commit_all(bad=bad)
    conclude(output.store, output.run, output.config, {})
    return output


def derived(old, folder, *overrides, name="derived"):
    """The data files of an output that is derived from `old`, proven."""
    wanted = Output(folder / "in", folder / name, "guard.max_quarantined_fraction=1", *overrides)
    found = prepare_derivation(old.store, wanted.config)
    run = identity(found.fingerprint, found.plan, wanted.config)
    assert run == wanted.run
    claim(wanted.store, run, None)
    for part in found.plan.parts:
        ((_, table),) = read_parts([part], found.plan.schema.columns)
        scored, measures = take_scores(found.source, part, table, found.plan.schema, wanted.config)
        commit(
            wanted.store,
            part,
            scored,
            found.plan.schema,
            wanted.config.output,
            measures,
            digest(run),
        )
    totals = conclude(wanted.store, run, wanted.config, {})
    return wanted, totals


def keys(output):
    """Of all parts, without the day."""
    names = [keys_name(part.name) for part in output.plan.parts]
    return [from_bytes(output.store.read(name)).drop_columns("day").to_pylist() for name in names]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("settings", [SETTINGS, SETTINGS[:1], ("output.passthrough=[]",)])
def test_a_derived_output_equals_one_that_was_scored_so(layout, settings, tmp_path):
    make, columns = LAYOUTS[layout]
    write(tmp_path / "in" / "a.parquet", make())
    old = finished(tmp_path, *columns, "reuse.keep=false")
    scored = finished(tmp_path, *columns, *settings, name="scored")
    new, totals = derived(old, tmp_path, *columns, *settings)
    assert keys(new) == keys(scored)
    assert totals.keys > 0
    assert [table.to_pylist() for table in new.tables()] == [
        table.to_pylist() for table in scored.tables()
    ]
    assert [table.schema for table in new.tables()] == [t.schema for t in scored.tables()]
    assert totals.quarantined == {"not_finite": 1}
    assert totals.pairs == totals.scored + 1


def test_the_counts_of_the_old_receipts_are_kept_where_parts_are_cut_otherwise(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(24, per_query=3))
    old = finished(tmp_path, bad=0)
    new, totals = derived(old, tmp_path, "output.rank=true")
    assert [part.start for part in new.plan.parts] != [part.start for part in old.plan.parts]
    assert totals.tokens == pytest.approx(600, abs=3)
    assert (totals.computed_tokens, totals.seconds) == (0, 0)


def test_the_day_of_scores_is_kept_however_often_they_are_derived(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(8))
    old = finished(tmp_path, bad=0)
    with Recorder(old.store, 1, 86_400.0 * 100):
        pass
    found = old
    for name in ("second", "third"):
        found, totals = derived(found, tmp_path, "output.rank=true", name=name)
        days = set()
        for part in found.plan.parts:
            table = from_bytes(found.store.read(keys_name(part.name)))
            days |= set(table["day"].cast("int32").to_pylist())
        assert days == {100}
        assert totals.reused == 0


def test_what_an_output_has_reused_is_counted_after_its_columns_have_changed(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(24, per_query=3))
    old = finished(tmp_path, bad=0)
    for part in old.plan.parts:
        name = f"_receipts/{part.name}.json"
        receipt = json.loads(old.store.read(name))
        receipt["reuse"] = {"pairs": 2, "checked": 1, "oldest": 7}
        old.store.write(name, json.dumps(receipt).encode())
    new = Output(tmp_path / "in", tmp_path / "out", "output.rank=true")
    scoring = fingerprint_for(old.run["fingerprint"], new.config)
    source = derivation_in_place(old.store, new.config, new.plan, scoring).source
    taken = []
    for part in new.plan.parts:
        ((_, table),) = read_parts([part], new.plan.schema.columns)
        taken.append(take_scores(source, part, table, new.plan.schema, new.config)[0].reuse)
    whole = 2 * len(old.plan.parts)
    assert sum(reuse["pairs"] for reuse in taken) == pytest.approx(whole, abs=2)
    assert {reuse["oldest"] for reuse in taken} == {7}


def test_columns_that_only_the_model_can_give_are_refused_unless_they_are_there(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(8))
    old = finished(tmp_path, bad=0)
    with pytest.raises(ConfigError, match=r"output\.tokens_lost=true: .* does not have this"):
        derived(old, tmp_path, "output.tokens_lost=true")
    rich = finished(tmp_path, "output.tokens_lost=true", name="rich", bad=0)
    new, _ = derived(rich, tmp_path, "output.tokens_lost=true", "output.rank=true")
    assert "tokens_lost" in new.tables()[0].column_names


def test_an_input_that_has_changed_is_refused(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(8))
    old = finished(tmp_path, bad=0)
    write(tmp_path / "in" / "a.parquet", flat(9))
    os.utime(tmp_path / "in" / "a.parquet", (1, 1))
    with pytest.raises(OutputConflict, match=r"a\.parquet"):
        derived(old, tmp_path)


def test_an_output_that_is_not_complete_or_lacks_a_part_is_refused(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(8))
    old = finished(tmp_path, bad=0)
    part = old.plan.parts[1]
    old.store.delete(f"_receipts/{part.name}.json")
    with pytest.raises(Incomplete, match="has no scores of rows 4 to 7"):
        derived(old, tmp_path, "output.rank=true")
    old.store.delete(data_name(part.name), SUCCESS)
    with pytest.raises(Incomplete, match="has no _SUCCESS"):
        prepare_derivation(Store(old.store.url), old.config)


@pytest.mark.parametrize("setting", [*SETTINGS, "output.passthrough=[]"])
def test_a_run_that_differs_only_in_such_columns_names_the_command(setting, tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(8))
    old = finished(tmp_path, bad=0)
    for more, is_named in (((), True), (("plan.part_rows=5",), False)):
        other = Output(tmp_path / "in", tmp_path / "out", setting, *more)
        with pytest.raises(OutputConflict) as caught:
            refuse_differences(old.store, old.run, other.run, other.config)
        assert ("batch-reranker derive" in str(caught.value)) == is_named
