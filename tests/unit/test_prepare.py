"""What is known, and can be wrong, before Ray is asked for anything."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from deltalake import write_deltalake
from rich.console import Console
from tokenizers.pre_tokenizers import PreTokenizer

from reranker_core.config import Config
from reranker_core.errors import (
    ConfigError,
    InputError,
    OutputConflict,
    PreflightRefused,
    StoreRefused,
)
from reranker_core.input.reading import read_parts
from reranker_core.models import encoder
from reranker_core.output.checksums import record
from reranker_core.output.commit import data_name
from reranker_core.output.identity import claim, digest, identity, recorded
from reranker_core.output.receipts import receipt_name
from reranker_core.prepare import Prepared, prepare
from reranker_core.report.summary import print_plan
from tests import damage
from tests.outputs import commit_part
from tests.tables import config, flat, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "in" / "a.parquet", flat(10))
    write(tmp_path / "in" / "b.parquet", flat(10))
    return tmp_path


def settings(folder: Path, bert: Path, *overrides: str) -> Config:
    return config(folder / "in", folder / "out", "plan.part_rows=5", *overrides, model=bert)


def begin(prepared: Prepared, dtype: str = "float32") -> None:
    """Claim the output, as a run does once a replica's dtype is known."""
    scoring = prepared.fingerprint | {"dtype": dtype}
    run = identity(scoring, prepared.plan, prepared.config)
    claim(prepared.store, run, prepared.before)


def finish(prepared: Prepared, *numbers: int) -> None:
    run = digest(recorded(prepared.store) or {})
    for number in numbers:
        part = prepared.plan.parts[number]
        commit_part(prepared.store, part, prepared.plan.schema, prepared.config, run)


def test_a_fresh_run_has_all_to_do(folder: Path, bert: Path):
    found = prepare(settings(folder, bert))
    assert found.todo == found.plan.parts
    assert len(found.todo) == 4
    assert found.before is None


def test_a_tokenizer_with_a_part_in_python_is_refused(
    folder: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
):
    class Letters:
        def pre_tokenize(self, text: Any) -> None:
            text.split(lambda _, part: list(part))

    def with_letters(*arguments: Any) -> Any:
        found = pair_format(*arguments)
        found.tokenizer.backend.pre_tokenizer = PreTokenizer.custom(Letters())
        return found

    pair_format = encoder.pair_format
    monkeypatch.setattr(encoder, "pair_format", with_letters)
    with pytest.raises(PreflightRefused, match="tokenizer/sendable"):
        prepare(settings(folder, bert))


def test_the_plan_says_what_was_passed_over(folder: Path, bert: Path):
    (folder / "in" / "_SUCCESS").touch()
    (folder / "in" / "notes.md").touch()
    console = Console(file=io.StringIO(), width=200)
    print_plan(prepare(settings(folder, bert)), console)
    shown = console.file.getvalue()
    assert "1 with names that begin with _ or .; 1 without a Parquet suffix" in shown


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


def test_preparing_writes_nothing(folder: Path, bert: Path):
    prepare(settings(folder, bert))
    assert not (folder / "out").exists()


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


def test_other_settings_are_refused_whatever_becomes_of_shards(folder: Path, bert: Path):
    begin(prepare(settings(folder, bert)))
    with pytest.raises(OutputConflict, match="max_length"):
        prepare(settings(folder, bert, "model.max_length=64", "input.changed=rescore"))


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


def test_a_resumed_run_keeps_the_dtype_that_it_began_with(folder: Path, bert: Path):
    begin(prepare(settings(folder, bert)), dtype="bfloat16")
    found = prepare(settings(folder, bert))
    assert found.config.model.dtype == found.fingerprint["dtype"] == "bfloat16"


def test_another_dtype_than_the_run_began_with_is_a_conflict(folder: Path, bert: Path):
    begin(prepare(settings(folder, bert)), dtype="bfloat16")
    with pytest.raises(OutputConflict, match=r"  model\.dtype: bfloat16 before, float32 now"):
        prepare(settings(folder, bert, "model.dtype=float32"))


def test_the_dtype_of_a_fresh_run_is_open_until_a_device_is_known(folder: Path, bert: Path):
    found = prepare(settings(folder, bert))
    assert found.config.model.dtype == found.fingerprint["dtype"] == "auto"


def test_another_setting_under_the_same_output_is_a_conflict(folder: Path, bert: Path):
    begin(prepare(settings(folder, bert)))
    with pytest.raises(OutputConflict, match="max_length"):
        prepare(settings(folder, bert, "model.max_length=64"))


def test_a_value_that_follows_from_another_is_not_told(folder: Path, bert: Path):
    begin(prepare(settings(folder, bert, "model.max_length=128")))
    with pytest.raises(OutputConflict) as caught:
        prepare(settings(folder, bert, "model.max_length=64"))
    assert "  model.max_length: 128 before, 64 now" in str(caught.value)
    assert "query_max_length" not in str(caught.value)
    with pytest.raises(OutputConflict, match=r"model\.query_max_length: 96 before, 48 now"):
        prepare(settings(folder, bert, "model.max_length=64", "model.query_max_length=48"))


def test_a_value_that_was_set_before_is_told(folder: Path, bert: Path):
    begin(prepare(settings(folder, bert, "model.query_max_length=20")))
    with pytest.raises(OutputConflict, match=r"model\.query_max_length: 20 before, 48 now"):
        prepare(settings(folder, bert, "model.max_length=64"))


def touched(folder: Path, name: str) -> None:
    """The same bytes at another time, as after `touch`, or rsync without times."""
    path = folder / "in" / name
    os.utime(path, (1_000_000_000, 1_000_000_000))


def in_a_copied_folder(folder: Path, name: str) -> None:
    """The same bytes in files that were written anew."""
    shutil.copytree(folder / "in", folder / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(folder / "in")
    (folder / "copy").rename(folder / "in")
    touched(folder, name)


@pytest.mark.parametrize("change", [touched, in_a_copied_folder])
@pytest.mark.parametrize("changed", ["refuse", "rescore"])
def test_the_same_bytes_at_another_time_are_the_same_shard(
    folder: Path, bert: Path, change: Callable[[Path, str], None], changed: str
):
    first = prepare(settings(folder, bert))
    begin(first)
    finish(first, 0, 1, 2)
    record(first.store, first.plan, threading.Event())
    change(folder, "a.parquet")
    change(folder, "b.parquet") if change is touched else None
    found = prepare(settings(folder, bert, f"input.changed={changed}"))
    assert found.todo == (replace(first.plan.parts[3], seen=found.todo[0].seen),)
    assert found.outstanding.discard == ()
    assert found.changes == []
    ((_, rows),) = read_parts(list(found.todo), found.plan.schema.columns)
    assert rows.num_rows == 5
    # What was compared once is known from then on.
    record(first.store, found.plan, threading.Event())
    known = json.loads(first.store.read("_checksums.json"))
    assert {len(entry["etags"]) for entry in known.values()} == {2}


def test_other_bytes_of_the_same_length_are_another_shard(folder: Path, bert: Path):
    path = folder / "in" / "a.parquet"
    first = prepare(settings(folder, bert))
    begin(first)
    record(first.store, first.plan, threading.Event())
    data = bytearray(path.read_bytes())
    data[10] ^= 1  # within a page: size and footer are those of before
    path.write_bytes(data)
    touched(folder, "a.parquet")
    with pytest.raises(
        OutputConflict, match=r"  a\.parquet: same size, but different content"
    ) as caught:
        prepare(settings(folder, bert))
    assert "b.parquet" not in str(caught.value)


def test_an_output_without_checksums_keeps_the_rule_of_time(folder: Path, bert: Path):
    begin(prepare(settings(folder, bert)))
    touched(folder, "a.parquet")
    with pytest.raises(OutputConflict, match=r"a\.parquet: same size, but different content"):
        prepare(settings(folder, bert))


def test_a_shard_that_is_written_while_it_is_looked_at_is_not_recorded(folder: Path, bert: Path):
    first = prepare(settings(folder, bert))
    write(folder / "in" / "a.parquet", flat(10, first=7))
    record(first.store, first.plan, threading.Event())
    assert list(json.loads(first.store.read("_checksums.json"))) == ["b.parquet"]


def test_checksums_stop_with_the_run(folder: Path, bert: Path):
    first = prepare(settings(folder, bert))
    end = threading.Event()
    end.set()
    record(first.store, first.plan, end)
    assert not first.store.exists("_checksums.json")


def test_an_output_with_files_of_somebody_else_is_a_conflict(folder: Path, bert: Path):
    (folder / "out").mkdir()
    (folder / "out" / "thesis.doc").write_bytes(b"precious")
    with pytest.raises(OutputConflict, match=r"thesis\.doc"):
        prepare(settings(folder, bert))


def test_a_refused_checkpoint_is_refused_here(folder: Path, bert: Path, tmp_path: Path):
    model = damage.with_config(bert, tmp_path / "m", architectures=["BertModel"])
    with pytest.raises(PreflightRefused, match="has_a_score"):
        prepare(settings(folder, model))


@pytest.mark.parametrize("model", ["./absent", "/absent/model"])
def test_a_model_that_is_not_there_is_named(folder: Path, model: str):
    with pytest.raises(ConfigError, match="absent"):
        prepare(settings(folder, Path(model)))


def test_a_model_folder_without_config_is_named(folder: Path, tmp_path: Path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "weights.bin").write_bytes(b"")
    with pytest.raises(PreflightRefused, match=r"no config\.json.*weights\.bin"):
        prepare(settings(folder, tmp_path / "m"))


def test_a_damaged_config_of_the_model_is_named(folder: Path, bert: Path, tmp_path: Path):
    model = damage.with_file(bert, tmp_path / "m", "config.json", b'{"architectures": [')
    with pytest.raises(PreflightRefused, match=r"config\.json cannot be read"):
        prepare(settings(folder, model))


def test_a_config_of_the_model_that_is_no_object_is_named(folder: Path, bert: Path, tmp_path: Path):
    model = damage.with_file(bert, tmp_path / "m", "config.json", b"[]")
    with pytest.raises(PreflightRefused, match=r"config\.json"):
        prepare(settings(folder, model))


def test_a_length_beyond_the_model_is_named(folder: Path, bert: Path):
    with pytest.raises(ConfigError, match=r"model\.max_length=131 exceeds the 130"):
        prepare(settings(folder, bert, "model.max_length=131"))


def test_input_that_is_not_there_is_named_before_the_model_is_looked_at(folder: Path):
    missing = config(folder / "absent", folder / "out")
    with pytest.raises(InputError, match="no shards there"):
        prepare(missing)


def test_a_damaged_record_of_the_run_is_named(folder: Path, bert: Path):
    (folder / "out").mkdir()
    (folder / "out" / "_run.json").write_bytes(b'{"fingerprint": ')
    with pytest.raises(OutputConflict, match=r"_run\.json"):
        prepare(settings(folder, bert))


def test_relative_folders_are_absolute_for_workers(
    folder: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    (folder / "model").symlink_to(bert)
    prepared = prepare(config("in", "out", model=Path("model")))
    assert prepared.config.output.path == str(folder / "out")
    assert prepared.config.model.path == str(bert.resolve())
    assert all(Path(part.shard).is_absolute() for part in prepared.todo)


def test_two_runs_that_began_at_once_cannot_both_have_the_output(folder: Path, bert: Path):
    first = prepare(settings(folder, bert, "model.dtype=float32"))
    second = prepare(settings(folder, bert, "model.dtype=float32", "model.max_length=64"))
    begin(first)
    with pytest.raises(OutputConflict, match="max_length"):
        begin(second)


def test_foreign_data_files_are_found_before_anything_is_scored(folder: Path, bert: Path):
    begin(prepare(settings(folder, bert, "model.dtype=float32")))
    write(folder / "out" / "foreign.parquet", flat(1))
    with pytest.raises(OutputConflict, match="foreign"):
        prepare(settings(folder, bert, "model.dtype=float32"))


def test_an_output_that_is_a_file_is_a_configuration_error(folder: Path, bert: Path):
    (folder / "out").write_text("")
    with pytest.raises(ConfigError, match=r"output\.path"):
        prepare(settings(folder, bert))


@pytest.mark.parametrize("url", ["foo://bucket/in", "gs://bucket/in"])
def test_a_store_that_cannot_be_opened_is_a_configuration_error(bert: Path, url: str):
    with pytest.raises(ConfigError, match="cannot be opened"):
        prepare(config(url, "out", model=bert))


def test_a_presigned_url_is_refused_without_its_signature(bert: Path):
    with pytest.raises(ConfigError, match="presigned") as caught:
        prepare(config("https://127.0.0.1/x.parquet?X-Amz-Signature=abc", "out", model=bert))
    assert "abc" not in str(caught.value)


def test_instructions_of_rows_need_a_place_in_the_prompt(tmp_path: Path, bert: Path):
    write(tmp_path / "in" / "a.parquet", flat(4, how=["strict"] * 4))
    settings = config(
        tmp_path / "in",
        tmp_path / "out",
        "input.columns.instruction=how",
        "preflight.checks.meaning=off",
        model=bert,
    )
    with pytest.raises(ConfigError, match="does not use instructions"):
        prepare(settings)


UNWRITABLE = {
    "below_proc": "/proc/out",
    "in_sys": "/sys/kernel/out",
    "a_file": "{tmp}/file",
    "below_a_file": "{tmp}/file/out",
    "below_a_link_to_nothing": "{tmp}/dangling/out",
    "a_name_too_long": "{tmp}/" + "x" * 300,
}


@pytest.mark.parametrize("output", UNWRITABLE.values(), ids=UNWRITABLE)
def test_an_output_that_cannot_be_written_is_told_before_the_model_is_looked_at(
    folder: Path, output: str
):
    (folder / "file").write_text("x")
    (folder / "dangling").symlink_to(folder / "nothing")
    before = sorted(folder.iterdir())
    path = output.format(tmp=folder)
    with pytest.raises(StoreRefused, match=rf"^output\.path={path} cannot be written: ") as caught:
        prepare(config(folder / "in", path))
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(folder.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told(folder: Path):
    (folder / "closed").mkdir(mode=0o500)
    for path in ("closed", "closed/out"):
        with pytest.raises(StoreRefused, match=r"cannot be written: permission denied"):
            prepare(config(folder / "in", folder / path))


def test_a_look_at_the_plan_makes_no_folder(folder: Path, bert: Path):
    prepare(settings(folder, bert, f"output.path={folder}/new/out"))
    assert sorted(path.name for path in folder.iterdir()) == ["in"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("address", [[], ["ray.address=local"]])
def test_a_device_that_is_not_there_is_told(folder: Path, bert: Path, address: list[str]):
    with pytest.raises(ConfigError, match=r"model.device=cuda: torch .* finds no CUDA device"):
        prepare(settings(folder, bert, "model.device=cuda", *address))


def test_the_devices_of_a_cluster_are_not_known(folder: Path, bert: Path, monkeypatch):
    found = prepare(settings(folder, bert, "model.device=cuda", "ray.address=10.0.0.1:6379"))
    assert found.device_is_unknown
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert prepare(settings(folder, bert, "model.device=cuda")).device_is_unknown
    assert not prepare(settings(folder, bert)).device_is_unknown
