"""Delta tables that the library `deltalake` wrote: the live files of a version are the shards."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from reranker_core.errors import ConfigError, InputError
from reranker_core.input.columns import typed
from reranker_core.input.plan import make_plan
from reranker_core.input.reading import read_parts
from reranker_core.input.shards import list_shards
from tests.delta_logs import altered, delete_by_vector, map_columns, protocol
from tests.tables import config, flat, write


def rows(source: Path | str, *overrides: str) -> int:
    found = list_shards(config(source, "elsewhere", *overrides))
    return sum(pq.read_metadata(shard.url).num_rows for shard in found)


def refusal(source: Path | str, *overrides: str) -> str:
    with pytest.raises((InputError, ConfigError)) as caught:
        list_shards(config(source, "elsewhere", *overrides))
    return str(caught.value)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Version 0: 10 rows; 1: 9 rows in their place; 2: 4 more."""
    folder = tmp_path / "t"
    write_deltalake(folder, flat(10))
    write_deltalake(folder, flat(9), mode="overwrite")
    write_deltalake(folder, flat(4, first=9), mode="append")
    return folder


@pytest.mark.parametrize("how", ["auto", "delta"])
def test_the_newest_version_is_read(table: Path, how: str):
    found = list_shards(config(table, "elsewhere", f"input.format={how}"))
    assert len(list(table.glob("*.parquet"))) == 3
    assert sorted(shard.url for shard in found) == sorted(DeltaTable(table).file_uris())
    assert found.snapshots == {"t": 2}
    assert rows(table) == rows(f"{table}/") == rows(f"file://{table}") == 13


@pytest.mark.parametrize(("version", "expected"), [(0, 10), (1, 9), (2, 13)])
def test_a_version_may_be_named(table: Path, version: int, expected: int):
    assert rows(table, f"input.snapshot={version}") == expected
    found = list_shards(config(table, "elsewhere", f"input.snapshot={version}"))
    assert found.snapshots == {"t": version}


def test_a_version_that_was_begun_is_read_on(table: Path):
    assert len(list_shards(config(table, "elsewhere"), {"t": 0})) == 1
    assert make_plan(config(table, "elsewhere"), {"t": 1}).rows == 9
    assert list_shards(config(table, "elsewhere", "input.snapshot=2"), {"t": 1}).snapshots["t"] == 2


def test_deleted_rows_are_not_read(table: Path):
    DeltaTable(table).delete("doc_id = 'd3'")
    assert rows(table) == 12


def test_tables_and_files_may_be_listed_together(table: Path, tmp_path: Path):
    write(tmp_path / "more" / "a.parquet", flat(2, first=20))
    assert rows([table, tmp_path / "more"]) == 15  # type: ignore[arg-type]


def test_tables_of_one_name_are_told_apart(table: Path, tmp_path: Path):
    write_deltalake(tmp_path / "x" / "t", flat(3, first=20))
    found = list_shards(config([table, tmp_path / "x" / "t"], "elsewhere"))
    assert found.snapshots == {"t": 2, "t #2": 0}
    assert "2 tables" in refusal([table, tmp_path / "x" / "t"], "input.snapshot=0")  # type: ignore[arg-type]


def test_a_relative_path_reads_the_same(table: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(table.parent)
    assert rows("t") == 13


def test_a_table_behind_a_link_is_read(table: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(table)
    assert rows(tmp_path / "link") == 13


def test_a_version_that_is_not_there_is_named(table: Path):
    for version in (-1, 7):
        told = refusal(table, f"input.snapshot={version}")
        assert f"the Delta table has no version {version}; the newest is" in told


def test_another_folder_is_never_read_in_place_of_one_with_a_percent_code(
    table: Path, tmp_path: Path
):
    shutil.copytree(table, tmp_path / "a b")  # where the library would look
    write_deltalake(table, flat(2, first=90), mode="append")
    shutil.copytree(table, tmp_path / "a%20b")
    assert "contains a percent code" in refusal(tmp_path / "a%20b")
    assert rows(tmp_path / "a b") == 13
    shutil.copytree(table, tmp_path / "100% é")
    assert rows(tmp_path / "100% é") == rows(table) == 15


def test_files_outside_the_table_are_found_as_hadoop_names_them(table: Path, tmp_path: Path):
    before = rows(table)
    outside = write(tmp_path / "outside.parquet", flat(2, first=90))
    add = {"path": f"file:{outside}", "partitionValues": {}, "size": outside.stat().st_size}
    altered(table, {"add": add | {"modificationTime": 1, "dataChange": True}})
    assert rows(table) == before + 2


def test_plain_files_have_no_snapshot(tmp_path: Path):
    write(tmp_path / "a.parquet", flat(2))
    assert "0 tables" in refusal(tmp_path, "input.snapshot=1")
    assert "is not a table in the format" in refusal(tmp_path, "input.format=delta")
    assert "is not a table in the format" in refusal(tmp_path / "a.parquet", "input.format=iceberg")


def test_plain_reading_of_a_table_is_refused(table: Path):
    for overrides in (["input.format=parquet"], ["input.format=iceberg"]):
        told = refusal(table, *overrides)
        assert f"{table} is a Delta table" in told
        assert "input.format=delta" in told


def test_the_folder_of_the_table_is_told(table: Path, tmp_path: Path):
    assert f"with input.path={table}" in refusal(f"{table}/*.parquet")
    assert f"with input.path={table}" in refusal(tmp_path)


def test_a_file_that_was_removed_is_named(table: Path):
    (name,) = (uri for uri in DeltaTable(table, version=0).file_uris())
    os.remove(name)
    told = refusal(table, "input.snapshot=0")
    assert f"{name} belongs to snapshot 0, but does not exist" in told
    assert rows(table) == 13


def test_a_table_without_rows_is_told_as_such(table: Path):
    DeltaTable(table).delete()
    assert "the Delta table has no rows in snapshot 3" in refusal(table)


def test_a_damaged_log_is_told_as_such(tmp_path: Path):
    write(tmp_path / "t" / "a.parquet", flat(2))
    (tmp_path / "t" / "_delta_log").mkdir()
    (tmp_path / "t" / "_delta_log" / f"{0:020}.json").write_text('{"add":{"path":"a.parquet"}}\n')
    assert "this Delta table cannot be read" in refusal(tmp_path / "t")


def test_a_missing_library_is_told_with_the_command(table: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "deltalake", None)
    told = refusal(table)
    assert "pip install 'batch-reranker[delta]'" in told
    assert "Export the rows" in told


def test_deletion_vectors_are_never_ignored(table: Path):
    write_deltalake(table, flat(10), mode="overwrite")
    delete_by_vector(table, [3])
    told = refusal(table)
    assert "are deleted in 1 deletion vector" in told
    assert f"batch-reranker convert {table} --to FOLDER" in told


def test_a_table_that_could_have_deletion_vectors_but_has_none_is_read(table: Path):
    altered(table, {"protocol": protocol("deletionVectors", "timestampNtz")})
    assert rows(table) == 13


@pytest.mark.parametrize("mode", ["name", "id"])
def test_mapped_columns_are_never_read_by_their_files_names(table: Path, mode: str):
    names = flat(1).column_names
    map_columns(table, dict(zip(names, names, strict=True)), mode)
    told = refusal(table)
    assert f"delta.columnMapping.mode={mode}" in told
    assert f"batch-reranker convert {table} --to FOLDER" in told


def test_partition_values_are_columns(tmp_path: Path):
    folder = tmp_path / "t"
    values = {
        "lang": pa.array(["en", "a=b c%", "ü/z", None]),
        "part": pa.array([1, -2, None, 3], pa.int32()),
        "day": pa.array([date(2024, 1, 31), date(1, 1, 1), None, date(9999, 12, 31)]),
        "at": pa.array([datetime(2024, 1, 31, 1, 2, 3, 4, UTC)] * 4, pa.timestamp("us", "UTC")),
        "price": pa.array([Decimal("1.50"), None, Decimal("-2.00"), Decimal("0.01")]),
        "good": pa.array([True, False, None, True]),
        "real": pa.array([0.5, 1e10, None, -1.25]),
    }
    table = flat(4, **values)
    write_deltalake(folder, table, partition_by=list(values))
    write_deltalake(folder, table.slice(0, 1), mode="overwrite")
    write_deltalake(folder, table.slice(1), mode="append")
    plan = make_plan(config(folder, "elsewhere"))
    read = [
        typed(rows, plan.schema)
        for part in plan.parts
        for _, rows in read_parts([part], plan.schema.columns)
    ]
    found = pa.concat_tables(read, promote_options="permissive").sort_by("doc_id")
    for name in values:
        assert found[name].to_pylist() == table[name].to_pylist(), name
        assert found[name].type == table[name].type, name
    assert set(plan.schema.carried) == {"query_id", "doc_id", *values}


def test_a_file_that_was_overwritten_in_place_is_named(table: Path):
    file = next(iter(DeltaTable(table).file_uris()))
    pq.write_table(flat(50), file)
    assert f"{file} has {os.path.getsize(file)} bytes, but the table says" in refusal(table)


def test_features_that_no_library_reads_are_named(table: Path):
    altered(table, {"protocol": protocol("typeWidening")})
    assert "uses typeWidening, which the job cannot read. Export the rows" in refusal(table)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_checkpoint_may_have_parts_or_a_name_of_its_own(table: Path, parts: int):
    log = table / "_delta_log"
    DeltaTable(table).create_checkpoint()
    (whole,) = log.glob("*.checkpoint.parquet")
    actions, number = pq.read_table(whole), f"{2:020}"
    names = [f"{number}.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet"]
    if parts == 2:
        names = [f"{number}.checkpoint.{part:010}.{parts:010}.parquet" for part in (1, 2)]
    size = -(-actions.num_rows // parts)
    for index, name in enumerate(names):
        pq.write_table(actions.slice(index * size, size), log / name)
    for path in (whole, log / "_last_checkpoint", *log.glob("*.json")):
        path.unlink()
    assert rows(table) == 13
