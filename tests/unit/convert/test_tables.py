"""Rows of tables whose files cannot be read one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import EqualTo
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import DataScan
from pyiceberg.types import LongType

from reranker_core.command.convert import convert
from reranker_core.errors import ConfigError, InputError, RerankError
from reranker_core.input.plan import make_plan
from tests.delta_logs import delete_by_vector, map_columns
from tests.tables import config, flat, write

IDS = ("query_id", "query", "doc_id", "passage")


def converted(source: Path | str, folder: Path, *options: str) -> pa.Table:
    """What the shards hold that are made of a table; a plan must be able to read them."""
    to = folder / f"shards-{len(list(folder.iterdir()))}"
    convert.main([str(source), "--to", str(to), *options], standalone_mode=False)
    table = pa.concat_tables([pq.read_table(file) for file in sorted(to.glob("*.parquet"))])
    assert make_plan(config(to, "elsewhere")).rows == table.num_rows
    return table


def test_rows_in_deletion_vectors_are_left_out(tmp_path: Path):
    write_deltalake(tmp_path / "t", flat(10))
    delete_by_vector(tmp_path / "t", [0, 3, 9])
    found = converted(tmp_path / "t", tmp_path)
    assert found.equals(flat(10).take([1, 2, 4, 5, 6, 7, 8]))
    assert converted(tmp_path / "t", tmp_path, "--snapshot", "0").equals(flat(10))


def test_mapped_columns_have_the_names_of_the_table(tmp_path: Path):
    inner = pa.array([{"a": 1}, None, {"a": None}, {"a": 4}], pa.struct([("a", pa.int64())]))
    names = dict(zip(("c1", "c2", "c3", "c4", "c5", "a"), (*IDS, "more", "b"), strict=True))
    written = flat(4, c5=inner).rename_columns(list(names)[:5])
    write_deltalake(tmp_path / "t", written)
    map_columns(tmp_path / "t", names, "name")
    found = converted(tmp_path / "t", tmp_path)
    assert found.select(IDS).equals(flat(4))
    assert found["more"].to_pylist() == [{"b": 1}, None, {"b": None}, {"b": 4}]


def test_partition_values_and_types_of_a_delta_table(tmp_path: Path):
    table = flat(4, lang=["a", "a", None, "b=c"], n=pa.array([1, None, 3, 4], pa.int32()))
    table = table.append_column("tags", pa.array([["x"], [], None, [None]], pa.list_(pa.string())))
    write_deltalake(tmp_path / "t", table, partition_by=["lang", "n"])
    found = converted(tmp_path / "t", tmp_path).sort_by("doc_id")
    assert found.select(table.column_names).cast(table.schema).equals(table)


@pytest.fixture
def catalog(tmp_path: Path) -> SqlCatalog:
    made = SqlCatalog(
        "c", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/lake"
    )
    made.create_namespace("n")
    return made


def test_columns_of_an_iceberg_table_that_were_renamed_dropped_and_added(
    catalog: SqlCatalog, tmp_path: Path
):
    made = catalog.create_table("n.t", schema=flat(1, more=[1], gone=["x"]).schema)
    made.append(flat(4, more=[1, 2, 3, None], gone=["x"] * 4))
    with made.update_schema() as update:
        update.rename_column("more", "rank_before")
        update.delete_column("gone")
        update.add_column("later", LongType())
    made.append(flat(2, first=4, rank_before=[5, 6], later=[7, 8]))
    made.delete(EqualTo("doc_id", "d1"))
    found = converted(made.location(), tmp_path).sort_by("doc_id")
    assert found.column_names == [*IDS, "rank_before", "later"]
    assert found["doc_id"].to_pylist() == ["d0", "d2", "d3", "d4", "d5"]
    assert found["rank_before"].to_pylist() == [1, 3, None, 5, 6]
    assert found["later"].to_pylist() == [None, None, None, 7, 8]
    first = str(made.snapshots()[0].snapshot_id)
    assert converted(made.location(), tmp_path, "--snapshot", first).num_rows == 4


def test_rows_in_position_deletes_are_left_out(
    catalog: SqlCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = catalog.create_table("n.t", schema=flat(1).schema)
    made.append(flat(10))
    # pyiceberg writes none, so they are added to the plan of the scan.
    plan_files = DataScan.plan_files

    def with_deletes(scan: DataScan) -> Any:
        tasks = list(plan_files(scan))
        for task in tasks:
            kind = pa.schema([("file_path", pa.string()), ("pos", pa.int64())])
            rows = {"file_path": [task.file.file_path] * 2, "pos": [0, 7]}
            path = write(tmp_path / "deletes.parquet", pa.table(rows, kind))
            task.delete_files.add(
                DataFile.from_args(
                    content=DataFileContent.POSITION_DELETES,
                    file_path=f"file://{path}",
                    file_format=FileFormat.PARQUET,
                )
            )
        return tasks

    monkeypatch.setattr(DataScan, "plan_files", with_deletes)
    found = converted(made.location(), tmp_path)
    assert found["doc_id"].to_pylist() == ["d1", "d2", "d3", "d4", "d5", "d6", "d8", "d9"]


def refusal(kind: type[RerankError], *typed: Path | str) -> str:
    with pytest.raises(kind) as caught:
        convert.main([str(each) for each in typed], standalone_mode=False)
    return str(caught.value)


def test_what_cannot_be_read_is_refused_and_leaves_nothing(tmp_path: Path):
    write_deltalake(tmp_path / "t", flat(4))
    to = ("--to", tmp_path / "out")
    assert "the Delta table has no version 7; the newest is" in refusal(
        InputError, tmp_path / "t", *to, "--snapshot", "7"
    )
    (uri,) = DeltaTable(tmp_path / "t").file_uris()
    Path(uri).write_bytes(b"PAR1")
    assert "this Delta table cannot be read" in refusal(InputError, tmp_path / "t", *to)
    assert not list((tmp_path / "out").glob("*"))
    (tmp_path / "h" / ".hoodie").mkdir(parents=True)
    assert "is a Hudi table" in refusal(InputError, tmp_path / "h", *to)
    (tmp_path / "a.jsonl").write_text("{}")
    told = refusal(ConfigError, tmp_path / "a.jsonl", *to, "--snapshot", "1")
    assert "is not a Delta or Iceberg table" in told
