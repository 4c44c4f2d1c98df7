"""Values and types of all other columns are in the output what they are in the input, whoever
wrote it and whoever reads it. Through plan, read, results and commit; scores are made up.
"""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.data._internal.datasource.parquet_datasink import ParquetDatasink
from ray.data._internal.execution.interfaces import TaskContext
from ray.data._internal.planner.plan_write_op import WRITE_UUID_KWARG_NAME
from ray.data.block import BlockAccessor

from tests import arrow_kinds
from tests.outputs import Output
from tests.tables import flat, nested, structs

KINDS = arrow_kinds.plain() | arrow_kinds.nested()
ADDED = {"score", "status", "query", "passage"}


def through(folder: Path, *overrides: str) -> tuple[Path, Output]:
    """Score `folder`/in; the one file of the output."""
    output = Output(folder / "in", str(folder / "out"), "plan.part_rows=100", *overrides)
    output.drive()
    (path,) = (folder / "out").glob("*.parquet")
    return path, output


def written(folder: Path, table: pa.Table, **options: Any) -> Path:
    (folder / "in").mkdir(exist_ok=True)
    path = folder / "in/a.parquet"
    pq.write_table(table, path, **options)
    return path


def assert_equal(found: pa.Array, expected: pa.Array) -> None:
    """Equal values; NaN is equal to itself."""
    assert found.equals(expected) or str(found.to_pylist()) == str(expected.to_pylist())


def assert_same_for_all_readers(before: Path, after: Path, strict_polars: bool = True) -> None:
    """What pyarrow, DuckDB and Polars see of the columns that both files have."""
    read = {"coerce_int96_timestamp_unit": "us"}
    one, other = pq.ParquetFile(before, **read).read(), pq.ParquetFile(after).read()
    names = [name for name in one.column_names if name in other.column_names]
    assert {"query_id"} < set(names)
    assert set(one.column_names) - set(names) <= ADDED
    for name in names:
        assert other.schema.field(name).type == one.schema.field(name).type, name
        found, expected = other[name].combine_chunks(), one[name].combine_chunks()
        assert_equal(found, expected)

    def described(path: Path) -> dict[str, str]:
        rows = duckdb.sql(f"describe select * from '{path}'").fetchall()
        return {row[0]: row[1] for row in rows if row[0] in names}

    assert described(after) == described(before)
    quoted = ", ".join(f'"{name}"' for name in names)
    missing = f"select {quoted} from '{before}' except all select {quoted} from '{after}'"
    assert duckdb.sql(missing).fetchall() == []
    if strict_polars:
        left, right = pl.read_parquet(before), pl.read_parquet(after)
        for name in names:
            assert right[name].dtype == left[name].dtype, name
            assert right[name].equals(left[name]), name


@pytest.mark.parametrize("stored", [True, False])
def test_every_type_from_pyarrow(tmp_path: Path, stored: bool):
    table = flat(4)
    for name, array in KINDS.items():
        table = table.append_column(pa.field(name, array.type, metadata={"note": name}), array)
    before = written(tmp_path, table, store_schema=stored)
    after, output = through(tmp_path)
    assert_same_for_all_readers(before, after, strict_polars=False)
    assert output.plan.not_kept == ()
    if stored:
        fields = pq.read_schema(after)
        assert all(fields.field(name).metadata[b"note"] == name.encode() for name in KINDS)


NOT_READ_BY_POLARS = {"decimal256", "list_view"} | {name for name in KINDS if "+05:30" in name}


def test_every_type_as_polars_reads_it(tmp_path: Path):
    table = flat(4)
    for name in KINDS.keys() - NOT_READ_BY_POLARS:
        table = table.append_column(name, KINDS[name])
    before = written(tmp_path, table)
    after, _ = through(tmp_path)
    left, right = pl.read_parquet(before), pl.read_parquet(after)
    for name in table.column_names:
        if name not in ADDED:
            assert right[name].dtype == left[name].dtype, name
            assert right[name].equals(left[name]), name


@pytest.mark.parametrize("name", KINDS)
def test_every_type_within_lists_of_candidates(tmp_path: Path, name: str):
    values = KINDS[name]
    if "view" in name:
        pytest.skip("pyarrow cannot write it")
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 2, 4], pa.int32()), values)
    members = pa.StructArray.from_arrays([values, values], ["x", "y"])
    more = pa.ListArray.from_arrays(pa.array([0, 1, 2, 2, 4], pa.int32()), members)
    table = nested([1, 1, 0, 2]).append_column("each", lists).append_column("more", more)
    before = written(tmp_path, table)
    after, _ = through(tmp_path)
    one, other = pq.read_table(before), pq.read_table(after)
    for column in ("each", "more"):
        assert other.schema.field(column).type == one.schema.field(column).type
        assert_equal(other[column].combine_chunks(), one[column].combine_chunks())


@pytest.mark.parametrize("name", KINDS)
def test_every_type_as_a_member_beside_the_passage(tmp_path: Path, name: str):
    values = KINDS[name]
    if "view" in name:
        pytest.skip("pyarrow cannot write it")
    inner = structs([1, 1, 0, 2])["candidates"].combine_chunks().flatten()
    members = [inner.field(i) for i in range(3)]
    joined = pa.StructArray.from_arrays([*members, values], ["doc_id", "passage", "year", "x"])
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 2, 4], pa.int32()), joined)
    table = nested([1, 1, 0, 2]).select(["query_id", "query"]).append_column("candidates", lists)
    written(tmp_path, table)
    after, _ = through(tmp_path, "input.columns.passage=candidates.passage")
    kind = pq.read_schema(after).field("candidates").type
    assert pa.types.is_list(kind)
    assert [field.name for field in kind.value_type] == ["doc_id", "year", "x"]
    assert kind.value_type.field("x").type == values.type
    found = pq.read_table(after)["candidates"].combine_chunks().flatten()
    assert_equal(found.field(2), values)


def test_candidates_that_are_null_with_members_that_may_not_be(tmp_path: Path):
    names = [("doc_id", pa.string()), ("passage", pa.string()), ("year", pa.int64())]
    members = [["d0", "", "d2", "d3"], ["p", "", "p", "p"], [2000, 0, 2002, 2003]]
    joined = pa.StructArray.from_arrays(
        [pa.array(values, kind) for values, (_, kind) in zip(members, names, strict=True)],
        fields=[pa.field(*each, nullable=False) for each in names],
        mask=pa.array([False, True, False, False]),
    )
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 4], pa.int32()), joined)
    table = nested([2, 2]).select(["query_id", "query"]).append_column("candidates", lists)
    written(tmp_path, table, row_group_size=1)
    after, _ = through(tmp_path, "input.columns.passage=candidates.passage")
    found = pq.read_table(after)["candidates"].combine_chunks().flatten()
    assert found.is_null().to_pylist() == [False, True, False, False]
    assert found.field("year").to_pylist()[2:] == [2002, 2003]
    assert not any(field.nullable for field in found.type)


# Four values of these are no three queries one behind the other.
ID_KINDS = [name for name in KINDS if name not in ("null", "bool", "bool8", "list_of_null")]


@pytest.mark.parametrize("name", ID_KINDS)
def test_ids_of_every_type_with_ranks(tmp_path: Path, name: str):
    values = KINDS[name]
    ids = pa.concat_arrays([values[:1], values[:1], values[2:]])
    table = flat(4).set_column(0, pa.field("query_id", values.type), ids)
    table = table.set_column(2, pa.field("doc_id", values.type), values)
    before = written(tmp_path, table)
    output = Output(tmp_path / "in", str(tmp_path / "out"), "output.rank=true")
    output.drive()
    found = pa.concat_tables(output.tables())
    assert found.schema.field("query_id").type == pq.read_schema(before).field("query_id").type
    assert found.schema.field("doc_id").type == pq.read_schema(before).field("doc_id").type
    assert found["rank"].to_pylist() in [[1, 2, 1, 1], [2, 1, 1, 1]]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("inside", [False, True])
def test_int96_beyond_the_range_of_nanoseconds(tmp_path: Path, stored: bool, inside: bool):
    moments = [datetime(9999, 12, 31), None, datetime(1, 1, 1), datetime(2026, 1, 1, 0, 0, 0, 7)]
    values = pa.array(moments, pa.timestamp("us"))
    if inside:
        values = pa.ListArray.from_arrays(pa.array([0, 1, 2, 2, 4], pa.int32()), values)
    table = flat(4).append_column("until", values)
    written(tmp_path, table, use_deprecated_int96_timestamps=True, store_schema=stored)
    after, output = through(tmp_path)
    assert pq.read_table(after)["until"].to_pylist() == values.to_pylist()
    assert output.plan.not_kept == ("until: INT96 timestamps are rounded down to microseconds",)


@pytest.mark.parametrize("index", [pa.int8(), pa.uint8()])
@pytest.mark.parametrize("inside", ["column", "list", "struct", "beside the passage", "query"])
def test_dictionaries_of_several_row_groups_that_outgrow_their_indices(
    tmp_path: Path, index: pa.DataType, inside: str
):
    groups, rows = 4, 100  # 400 values together, and 128 or 256 that can be numbered

    def group(number: int) -> pa.Table:
        names = pa.array([f"{number}.{row}" for row in range(rows)])
        values: pa.Array = pa.DictionaryArray.from_arrays(pa.array(range(rows), index), names)
        if inside == "query":
            return flat(rows, first=rows * number, query=values, query_id=values)
        if inside == "struct":
            values = pa.StructArray.from_arrays([values], ["x"])
        if inside == "list":
            values = pa.ListArray.from_arrays(pa.array(range(rows + 1), pa.int32()), values)
        if inside != "beside the passage":
            return flat(rows, first=rows * number, more=values)
        candidates = structs([1] * rows)["candidates"].combine_chunks().flatten()
        members = [*candidates.flatten(), values]
        joined = pa.StructArray.from_arrays(members, ["doc_id", "passage", "year", "more"])
        lists = pa.ListArray.from_arrays(pa.array(range(rows + 1), pa.int32()), joined)
        return nested([1] * rows).select(["query_id", "query"]).append_column("candidates", lists)

    tables = [group(number) for number in range(groups)]
    (tmp_path / "in").mkdir()
    with pq.ParquetWriter(tmp_path / "in/a.parquet", tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    beside = inside == "beside the passage"
    columns = ["input.columns.passage=candidates.passage"] if beside else []
    if inside == "query":
        columns += ["output.text=true", "output.rank=true"]
    after, output = through(tmp_path, "plan.part_rows=10000", *columns)
    assert len(output.plan.parts) == 1
    for column in {"more", "candidates", "query", "query_id"} & set(tables[0].column_names):
        found = pq.read_table(after)
        if column not in found.column_names:
            continue
        expected = [row for table in tables for row in table[column].to_pylist()]
        if beside and column == "candidates":
            for row in expected:
                del row[0]["passage"]
            kind = found.schema.field(column).type.value_type.field("more").type
            assert kind == tables[0].schema.field(column).type.value_type.field("more").type
        else:
            assert found.schema.field(column).type == tables[0].schema.field(column).type
        assert found[column].to_pylist() == expected


def test_files_of_polars(tmp_path: Path):
    frame = pl.from_arrow(flat(3)).with_columns(
        category=pl.Series(["a", "b", None], dtype=pl.Categorical),
        enum=pl.Series(["x", None, "y"], dtype=pl.Enum(["x", "y"])),
        time=pl.Series([1, None, 3], dtype=pl.Time),
        duration=pl.Series([1, None, 3], dtype=pl.Duration("us")),
        zoned=pl.Series([1, None, 3], dtype=pl.Datetime("ms", "Asia/Tokyo")),
        decimal=pl.Series(["1.5", None, "2.5"]).cast(pl.Decimal(10, 2)),
        array=pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int16, 2)),
        inner=pl.Series([{"a": 1, "b": ["x"]}, None, {"a": None, "b": []}]),
        small=pl.Series([1, None, 3], dtype=pl.UInt8),
        bytes=pl.Series([b"a", None, b"\xff"]),
    )
    (tmp_path / "in").mkdir()
    frame.write_parquet(tmp_path / "in/a.parquet")
    after, _ = through(tmp_path)
    assert_same_for_all_readers(tmp_path / "in/a.parquet", after)


def test_files_of_duckdb(tmp_path: Path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/a.parquet"
    duckdb.sql(
        "copy (select 'q' query_id, 'x' query, 'd' doc_id, 'p' passage, uuid() u, "
        "'{\"a\": 1}'::json j, 'abc'::blob b, 1::hugeint h, time '12:00' t, "
        "timestamptz '2020-01-01 00:00:00+01' tz, timestamp_ns '2020-01-01' tns, "
        "timestamp_s '2020-01-01' tss, [1, 2]::int[2] arr, {'a': 1} s, map {'k': 1} m, "
        "1.5::decimal(5, 2) d5, date '9999-12-31' dd, 1::utinyint ut, 'sad'::enum('sad') e, "
        f"interval 3 days i, timetz '12:00:00+01' ttz) to '{path}'"
    )
    after, output = through(
        tmp_path, "output.passthrough=[u,j,b,h,t,tz,tns,tss,arr,s,m,d5,dd,ut,e]"
    )
    assert_same_for_all_readers(
        *(_without(file, tmp_path / f"{i}.parquet") for i, file in enumerate((path, after)))
    )
    _, output = through(_moved(tmp_path))
    lost = [line for line in output.plan.not_kept if not line.startswith("file metadata")]
    assert [line.partition(":")[0] for line in lost] == ["i", "ttz"]


def _without(path: Path, to: Path) -> Path:
    table = pq.read_table(path)
    pq.write_table(table.drop_columns([n for n in ("i", "ttz") if n in table.column_names]), to)
    return to


def _moved(folder: Path) -> Path:
    (folder / "again").mkdir()
    (folder / "in").rename(folder / "again/in")
    return folder / "again"


def test_files_of_pandas(tmp_path: Path):
    frame = flat(3).to_pandas()
    frame["category"] = pd.Categorical(["a", "b", None])
    frame["nullable"] = pd.array([1, None, 3], "Int16")
    frame["zoned"] = pd.to_datetime(["2020-01-01", None, "2021-01-01"]).tz_localize("UTC")
    frame["vector"] = [np.arange(2, dtype=np.float32)] * 3
    (tmp_path / "in").mkdir()
    frame.set_index(pd.Index(["x", "y", "z"], name="row")).to_parquet(tmp_path / "in/a.parquet")
    after, output = through(tmp_path)
    assert_same_for_all_readers(tmp_path / "in/a.parquet", after)
    assert not pq.read_schema(after).metadata
    assert output.plan.not_kept == ("file metadata that is not copied: pandas",)
    assert pd.read_parquet(after)["row"].tolist() == ["x", "y", "z"]


def test_files_of_hugging_face(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    columns = flat(3).to_pydict() | {"label": [0, 1, 0], "scores": [[0.5], [], [1.0, 2.0]]}
    features = datasets.Features(
        {name: datasets.Value("string") for name in ("query_id", "query", "doc_id", "passage")}
        | {"label": datasets.ClassLabel(names=["no", "yes"])}
        | {"scores": datasets.Sequence(datasets.Value("float32"))}
    )
    (tmp_path / "in").mkdir()
    data = datasets.Dataset.from_dict(columns, features=features)
    data.to_parquet(tmp_path / "in/a.parquet")
    after, _ = through(tmp_path)
    assert_same_for_all_readers(tmp_path / "in/a.parquet", after)
    again = datasets.Dataset.from_parquet(str(after), cache_dir=str(tmp_path / "cache"))
    assert again["label"][:] == [0, 1, 0]


def test_files_of_ray(tmp_path: Path):
    # What `write_parquet` does in each of its tasks, without a Ray to run them.
    columns: dict[str, Any] = {
        name: np.array(flat(4)[name].to_pylist()) for name in flat(4).column_names
    }
    columns["vector"] = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    columns["ragged"] = np.array([np.arange(n) for n in (1, 2, 3, 4)], object)
    block = BlockAccessor.batch_to_arrow_block(columns)
    sink = ParquetDatasink(str(tmp_path / "in"))
    sink.on_write_start(block.schema)
    sink.write([block], TaskContext(0, "write", kwargs={WRITE_UUID_KWARG_NAME: "0"}))
    (before,) = (tmp_path / "in").glob("*.parquet")
    after, _ = through(tmp_path)
    assert_same_for_all_readers(before, after)
    for name in ("vector", "ragged"):
        kind = pq.read_schema(after).field(name).type
        assert isinstance(kind, pa.BaseExtensionType)
        assert kind == block.schema.field(name).type
    again = BlockAccessor.for_block(pq.read_table(after)).to_numpy(["vector", "ragged"])
    assert np.array_equal(again["vector"], columns["vector"])
    assert [row.tolist() for row in again["ragged"]] == [row.tolist() for row in columns["ragged"]]


class Shaped(pa.ExtensionType):
    """What only some processes know, as Ray's tensors."""

    def __init__(self, shape: str) -> None:
        self.shape = shape
        super().__init__(pa.list_(pa.float32()), "vendor.shaped")

    def __arrow_ext_serialize__(self) -> bytes:
        return self.shape.encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> Shaped:
        return cls(serialized.decode())


@pytest.mark.parametrize("known", ["nowhere", "everywhere", "while reading", "while planning"])
@pytest.mark.parametrize("inside", [False, True])
def test_extension_types_keep_what_they_say_of_themselves(tmp_path: Path, known: str, inside: bool):
    kind = Shaped("2x3")
    values = pa.ExtensionArray.from_storage(kind, pa.array([[1.0], None, [2.0]], kind.storage_type))
    if inside:
        values = pa.StructArray.from_arrays([values], ["x"])
    written(tmp_path, flat(3).append_column("vector", values))
    try:
        if known in ("everywhere", "while planning"):
            pa.register_extension_type(Shaped(""))
        output = Output(tmp_path / "in", str(tmp_path / "out"))
        if known == "while planning":
            pa.unregister_extension_type("vendor.shaped")
        elif known == "while reading":
            pa.register_extension_type(Shaped(""))
        output.drive()
        if known in ("nowhere", "while planning"):
            pa.register_extension_type(Shaped(""))
        (path,) = (tmp_path / "out").glob("*.parquet")
        found = pq.read_table(path)["vector"].combine_chunks()
        found = found.field(0) if inside else found
        assert isinstance(found.type, Shaped)
        assert found.type.shape == "2x3"
        assert found.storage.to_pylist() == [[1.0], None, [2.0]]
    finally:
        pa.unregister_extension_type("vendor.shaped")


def test_an_output_may_be_the_input_of_another_run(tmp_path: Path):
    written(tmp_path, flat(3))
    first, _ = through(tmp_path, "output.text=true")
    table = pq.read_table(first).rename_columns({"score": "old", "status": "was"})
    (tmp_path / "next/in").mkdir(parents=True)
    buffer = io.BytesIO(first.read_bytes())
    metadata = pq.read_metadata(buffer).metadata
    with pq.ParquetWriter(tmp_path / "next/in/a.parquet", table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"batch-reranker": metadata[b"batch-reranker"]})
    second, _ = through(tmp_path / "next")
    assert pq.read_metadata(second).metadata[b"batch-reranker"] != metadata[b"batch-reranker"]
