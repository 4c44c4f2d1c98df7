"""What is left to do of an output that a run has begun, and which runs may go on with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

from reranker_core.errors import InputError, OutputConflict
from reranker_core.output.commit import data_name
from reranker_core.output.identity import recorded
from reranker_core.output.receipts import receipt_name
from reranker_core.prepare import compare, prepare
from tests.begun import begin, finish, settings, two_shards
from tests.delta_logs import delete_by_vector
from tests.tables import flat, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return two_shards(tmp_path)


def test_a_resumed_run_has_what_is_left_to_do_in_order(folder: Path, bert: Path):
    first = prepare(settings(folder, bert))
    begin(first)
    finish(first, 1, 3)
    found = prepare(settings(folder, bert))
    assert found.before is not None
    assert found.todo == (first.plan.parts[0], first.plan.parts[2])


def test_a_finished_run_has_nothing_to_do(folder: Path, bert: Path):
    first = prepare(settings(folder, bert))
    begin(first)
    finish(first, 0, 1, 2, 3)
    assert prepare(settings(folder, bert)).todo == ()


@pytest.mark.parametrize("name", [data_name, receipt_name])
def test_a_part_that_lost_its_file_or_its_receipt_is_to_do_again(folder: Path, bert: Path, name):
    first = prepare(settings(folder, bert))
    begin(first)
    finish(first, 0, 1, 2, 3)
    first.store.delete(name(first.plan.parts[2].name))
    assert prepare(settings(folder, bert)).todo == (first.plan.parts[2],)


def test_a_part_whose_file_has_another_length_is_discarded_and_done_again(folder: Path, bert: Path):
    first = prepare(settings(folder, bert))
    begin(first)
    finish(first, 0, 1, 2, 3)
    damaged = first.plan.parts[1]
    first.store.write(data_name(damaged.name), b"PAR1")
    found = prepare(settings(folder, bert))
    assert found.todo == (damaged,)
    assert found.outstanding.discard == (damaged.name,)


def test_an_orphan_of_a_shard_that_changed_is_known_by_what_it_says_of_itself(
    folder: Path, bert: Path
):
    first = prepare(settings(folder, bert))
    begin(first)
    finish(first, 0)
    orphan = first.plan.parts[0]
    first.store.delete(receipt_name(orphan.name))
    write(folder / "in" / "a.parquet", flat(10, first=50))
    found = prepare(settings(folder, bert, "input.changed=rescore"))
    assert found.outstanding.discard == (orphan.name,)
    assert len(found.todo) == 4


def test_changed_new_and_missing_shards_are_refused_unless_asked_for(folder: Path, bert: Path):
    write(folder / "in" / "c.parquet", flat(5))
    first = prepare(settings(folder, bert))
    begin(first)
    finish(first, 0, 1, 2, 3, 4)
    a, b, c = (f"{name}.parquet" for name in "abc")
    write(folder / "in" / a, flat(10, first=50))
    (folder / "in" / b).unlink()
    write(folder / "in" / "d.parquet", flat(5))
    with pytest.raises(OutputConflict) as caught:
        prepare(settings(folder, bert))
    assert all(name in str(caught.value) for name in (a, b, "d.parquet"))
    assert c not in str(caught.value)
    assert "input.changed=rescore" in str(caught.value)

    found = prepare(settings(folder, bert, "input.changed=rescore"))
    assert [part.shard_name for part in found.todo] == [a, a, "d.parquet"]
    assert set(found.outstanding.discard) == {
        part.name for part in first.plan.parts if part.shard_name != c
    }
    assert len(found.changes) > 0


def test_an_unfinished_output_goes_on_with_the_snapshot_it_was_begun_with(
    tmp_path: Path, bert: Path
):
    write_deltalake(tmp_path / "in", flat(10))
    first = prepare(settings(tmp_path, bert))
    begin(first)
    finish(first, 1)
    write_deltalake(tmp_path / "in", flat(3), mode="overwrite")

    resumed = prepare(settings(tmp_path, bert))
    assert (resumed.plan.snapshots, resumed.plan.rows) == ({"in": 0}, 10)
    assert resumed.todo == (first.plan.parts[0],)
    with pytest.raises(OutputConflict, match=r"input\.snapshot \(in\): 0 before, 1 now"):
        prepare(settings(tmp_path, bert, "input.snapshot=1"))
    rescored = prepare(settings(tmp_path, bert, "input.changed=rescore"))
    assert (rescored.plan.snapshots, rescored.plan.rows) == ({"in": 1}, 3)
    assert rescored.outstanding.discard == (first.plan.parts[1].name,)

    first.store.write("_SUCCESS", b"")
    with pytest.raises(OutputConflict, match=r"input\.snapshot \(in\): 0 before, 1 now"):
        prepare(settings(tmp_path, bert))


@pytest.mark.parametrize("spoil", ["deletion_vectors", "emptied"])
def test_an_unfinished_output_goes_on_though_the_newest_snapshot_cannot_be_read(
    tmp_path: Path, bert: Path, spoil: str
):
    write_deltalake(tmp_path / "in", flat(10))
    begin(prepare(settings(tmp_path, bert)))
    if spoil == "deletion_vectors":
        delete_by_vector(tmp_path / "in", [1])
    else:
        DeltaTable(tmp_path / "in").delete()
    with pytest.raises(InputError):
        prepare(settings(tmp_path, bert, "input.changed=rescore"))
    resumed = prepare(settings(tmp_path, bert))
    assert (resumed.plan.snapshots, resumed.plan.rows) == ({"in": 0}, 10)


def test_a_resumed_run_keeps_the_dtype_that_it_began_with(folder: Path, bert: Path):
    begin(first := prepare(settings(folder, bert)), dtype="bfloat16")
    finish(first, 0)
    found = prepare(settings(folder, bert))
    assert found.config.model.dtype == found.fingerprint["dtype"] == "bfloat16"
    assert compare(found).dtype_reason == "as in the output"  # as the driver does under its lease
    asked = prepare(settings(folder, bert, "model.dtype=bfloat16"))
    assert asked.dtype_reason == "as configured"
    first.store.delete(receipt_name(first.plan.parts[0].name))  # the data file counts, too
    assert prepare(settings(folder, bert)).config.model.dtype == "bfloat16"


def test_the_dtype_of_an_output_without_parts_is_still_open(folder: Path, bert: Path):
    # As after an interruption while models are loaded: a format may yet turn out not to work.
    begin(prepare(settings(folder, bert)), dtype="bfloat16")
    found = prepare(settings(folder, bert))
    assert found.config.model.dtype == found.fingerprint["dtype"] == "auto"
    assert len(found.todo) == 4
    begin(found, dtype="float32")
    assert (recorded(found.store) or {})["fingerprint"]["dtype"] == "float32"


def test_another_dtype_than_the_run_began_with_is_a_conflict(folder: Path, bert: Path):
    begin(first := prepare(settings(folder, bert)), dtype="bfloat16")
    finish(first, 0)
    with pytest.raises(OutputConflict, match=r"  model\.dtype: bfloat16 before, float32 now"):
        prepare(settings(folder, bert, "model.dtype=float32"))


def test_another_setting_under_the_same_output_is_a_conflict(folder: Path, bert: Path):
    begin(first := prepare(settings(folder, bert)))
    finish(first, 0)
    with pytest.raises(OutputConflict, match="max_length"):
        prepare(settings(folder, bert, "model.max_length=64"))


def test_other_settings_are_refused_whatever_becomes_of_shards(folder: Path, bert: Path):
    begin(first := prepare(settings(folder, bert)))
    finish(first, 0)
    with pytest.raises(OutputConflict, match="max_length"):
        prepare(settings(folder, bert, "model.max_length=64", "input.changed=rescore"))


def test_a_value_that_follows_from_another_is_not_told(folder: Path, bert: Path):
    begin(first := prepare(settings(folder, bert, "model.max_length=128")))
    finish(first, 0)
    with pytest.raises(OutputConflict) as caught:
        prepare(settings(folder, bert, "model.max_length=64"))
    assert "  model.max_length: 128 before, 64 now" in str(caught.value)
    assert "query_max_length" not in str(caught.value)
    with pytest.raises(OutputConflict, match=r"model\.query_max_length: 96 before, 48 now"):
        prepare(settings(folder, bert, "model.max_length=64", "model.query_max_length=48"))


def test_a_value_that_was_set_before_is_told(folder: Path, bert: Path):
    begin(first := prepare(settings(folder, bert, "model.query_max_length=20")))
    finish(first, 0)
    with pytest.raises(OutputConflict, match=r"model\.query_max_length: 20 before, 48 now"):
        prepare(settings(folder, bert, "model.max_length=64"))


def test_an_output_in_which_another_run_left_no_part_is_taken_over(folder: Path, bert: Path):
    """As after a model that preflight has refused."""
    begin(first := prepare(settings(folder, bert, "input.changed=rescore")), dtype="bfloat16")
    store, theirs = first.store, recorded(first.store)
    for name in ("_lease/000001.json", "_attempts/000001.json", "_preflight.json", "_report.html"):
        store.write(name, b"{}")
    other = ("model.max_length=64", "output.normalize=sigmoid")
    found = prepare(settings(folder, bert, *other))
    assert (found.before, found.replaced, len(found.todo)) == (None, theirs, 4)
    assert (found.derivation, found.changes, found.config.model.dtype) == (None, [], "auto")
    begin(found)
    finish(found, 0)
    again = prepare(settings(folder, bert, *other))
    assert (again.before, again.replaced) == (recorded(store), None)
    assert again.before != theirs
    with pytest.raises(OutputConflict, match="max_length"):
        prepare(settings(folder, bert))


@pytest.mark.parametrize("name", ["_within/a", "_derived/a", "_SUCCESS", "_run.json.mine", "a.txt"])
def test_an_output_with_anything_else_is_not_taken_over(folder: Path, bert: Path, name: str):
    begin(first := prepare(settings(folder, bert)))
    first.store.write(name, b"{}")
    with pytest.raises(OutputConflict, match="max_length"):
        prepare(settings(folder, bert, "model.max_length=64"))


def test_an_output_with_files_of_somebody_else_is_a_conflict(folder: Path, bert: Path):
    (folder / "out").mkdir()
    (folder / "out" / "thesis.doc").write_bytes(b"precious")
    with pytest.raises(OutputConflict, match=r"thesis\.doc"):
        prepare(settings(folder, bert))


def test_foreign_data_files_are_found_before_anything_is_scored(folder: Path, bert: Path):
    begin(prepare(settings(folder, bert, "model.dtype=float32")))
    write(folder / "out" / "foreign.parquet", flat(1))
    with pytest.raises(OutputConflict, match="foreign"):
        prepare(settings(folder, bert, "model.dtype=float32"))


def test_two_runs_that_began_at_once_cannot_both_have_the_output(folder: Path, bert: Path):
    first = prepare(settings(folder, bert, "model.dtype=float32"))
    second = prepare(settings(folder, bert, "model.dtype=float32", "model.max_length=64"))
    begin(first)
    with pytest.raises(OutputConflict, match="max_length"):
        begin(second)


def test_a_damaged_record_of_the_run_is_named(folder: Path, bert: Path):
    (folder / "out").mkdir()
    (folder / "out" / "_run.json").write_bytes(b'{"fingerprint": ')
    with pytest.raises(OutputConflict, match=r"_run\.json"):
        prepare(settings(folder, bert))
