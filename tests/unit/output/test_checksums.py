"""Equal bytes at another time are the same shard."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reranker_core.errors import OutputConflict
from reranker_core.input.reading import read_parts
from reranker_core.output.checksums import record
from reranker_core.prepare import compare, prepare
from tests.begun import begin, finish, settings, two_shards
from tests.tables import flat, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return two_shards(tmp_path)


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


def test_the_result_of_comparing_shards_is_one_line(
    folder: Path, bert: Path, caplog: pytest.LogCaptureFixture
):
    write(folder / "in" / "c.parquet", flat(10, first=90))
    first = prepare(settings(folder, bert))
    begin(first)
    finish(first, 0)
    record(first.store, first.plan, threading.Event())
    for name in "abc":
        touched(folder, f"{name}.parquet")
    with caplog.at_level(logging.INFO):
        compare(prepare(settings(folder, bert)))  # as the driver does once more under its lease
    (told,) = (text for text in caplog.messages if "modification time" in text)
    assert told.endswith("The content is the same in 3 and differs in 0")
    assert told.startswith("3 shards: new modification time.")
    data = bytearray((folder / "in" / "b.parquet").read_bytes())
    data[10] ^= 1
    (folder / "in" / "b.parquet").write_bytes(data)
    caplog.clear()
    with caplog.at_level(logging.INFO), pytest.raises(OutputConflict):
        prepare(settings(folder, bert))
    assert "the same in 2 and differs in 1, such as b.parquet" in caplog.text


def test_other_bytes_of_the_same_length_are_another_shard(folder: Path, bert: Path):
    path = folder / "in" / "a.parquet"
    first = prepare(settings(folder, bert))
    begin(first)
    finish(first, 2)
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
    begin(first := prepare(settings(folder, bert)))
    finish(first, 0)
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
