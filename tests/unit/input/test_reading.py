"""Reading parts equals slicing the whole table."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reranker_core.errors import InputError
from reranker_core.input.plan import Part, make_plan
from reranker_core.input.reading import read_parts
from reranker_core.storage.filesystem import entity_tag, open_filesystem
from tests.tables import config, flat, nested, structs, write

COLUMNS = ("query_id", "query", "doc_id", "passage")


def part(path: Path, start: int, stop: int) -> Part:
    filesystem, name = open_filesystem(str(path))
    etag = entity_tag(filesystem.info(name))
    return Part(f"p{start}", str(path), path.name, etag, start, stop, stop - start)


def read(
    path: Path, *ranges: tuple[int, int], columns: tuple[str, ...] = COLUMNS
) -> list[pa.Table]:
    parts = [part(path, start, stop) for start, stop in ranges]
    found = list(read_parts(parts, columns))
    assert [p for p, _ in found] == parts
    return [table for _, table in found]


@pytest.mark.parametrize("row_group_size", [500, 1000, 4096, 100_000])
@pytest.mark.parametrize(
    "ranges",
    [
        [(0, 5000)],
        [(0, 1), (1, 2), (2, 3)],
        [(4990, 5000)],
        [(1001, 2999)],
        [(700, 1400), (1400, 2100), (2100, 4500)],
        [(0, 10), (2000, 2010), (4095, 4097)],
    ],
)
def test_parts_of_flat_shards(tmp_path: Path, row_group_size: int, ranges: list[tuple[int, int]]):
    table = flat(5000)
    path = write(tmp_path / "a.parquet", table, row_group_size)
    for (start, stop), found in zip(ranges, read(path, *ranges), strict=True):
        assert found.equals(table.slice(start, stop - start))


@pytest.mark.parametrize("row_group_size", [1, 2, 7])
def test_parts_of_tiny_row_groups(tmp_path: Path, row_group_size: int):
    table = flat(60)
    path = write(tmp_path / "a.parquet", table, row_group_size)
    ranges = [(0, 1), (1, 15), (15, 16), (33, 60)]
    for (start, stop), found in zip(ranges, read(path, *ranges), strict=True):
        assert found.equals(table.slice(start, stop - start))


@pytest.mark.parametrize("seed", range(10))
def test_any_parts_of_any_row_groups(tmp_path: Path, seed: int):
    rng = np.random.default_rng(seed)
    table = flat(int(rng.integers(1, 9000)))
    path = write(tmp_path / "a.parquet", table, int(rng.integers(50, 6000)))
    edges = np.unique(rng.integers(0, table.num_rows + 1, 8)).tolist()
    ranges = list(pairwise(edges)) or [(0, table.num_rows)]
    for (start, stop), found in zip(ranges, read(path, *ranges), strict=True):
        assert found.equals(table.slice(start, stop - start))


@pytest.mark.parametrize("row_group_size", [1, 7, 1000])
@pytest.mark.parametrize("make", [nested, structs])
def test_parts_of_nested_shards(tmp_path: Path, make: object, row_group_size: int):
    table = make([i % 5 for i in range(60)])
    path = write(tmp_path / "a.parquet", table, row_group_size)
    columns = tuple(table.column_names)
    for (start, stop), found in zip(
        [(3, 50), (50, 51), (55, 60)],
        read(path, (3, 50), (50, 51), (55, 60), columns=columns),
        strict=True,
    ):
        assert found.equals(table.slice(start, stop - start))


def test_dictionary_columns(tmp_path: Path):
    values = pa.array([f"common {i % 13}" for i in range(5000)]).dictionary_encode()
    table = flat(5000, query=values)
    path = write(tmp_path / "a.parquet", table, 1500)
    (found,) = read(path, (1000, 4700))
    assert pa.types.is_dictionary(found.schema.field("query").type)
    assert found["query"].to_pylist() == values[1000:4700].to_pylist()


def test_only_the_columns_that_are_asked_for_in_their_order(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(10, other=list(range(10))))
    (found,) = read(path, (0, 10), columns=("passage", "query_id"))
    assert found.column_names == ["passage", "query_id"]


def test_a_column_whose_name_begins_like_another_is_not_read(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(10, passage_title=["t"] * 10))
    (found,) = read(path, (0, 10), columns=("passage",))
    assert found.column_names == ["passage"]


def test_a_column_with_a_dot_in_its_name(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(10, **{"doc.title": ["t"] * 10}))
    (found,) = read(path, (2, 5), columns=("doc.title", "query"))
    assert found["doc.title"].to_pylist() == ["t"] * 3


def test_a_shard_that_is_gone_is_an_input_error(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(10))
    parts = [part(path, 0, 10)]
    path.unlink()
    with pytest.raises(InputError, match=r"a\.parquet: was removed while"):
        list(read_parts(parts, COLUMNS))


def test_a_shard_that_is_no_parquet_any_more_is_an_input_error(tmp_path: Path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"not a parquet file, not any more")
    with pytest.raises(InputError, match=r"a\.parquet"):
        read(path, (0, 10))


@pytest.mark.parametrize("rows_left", [0, 3, 15])
def test_a_shard_that_has_become_shorter_is_an_input_error(tmp_path: Path, rows_left: int):
    path = write(tmp_path / "a.parquet", flat(30).slice(0, rows_left), 5)
    with pytest.raises(InputError, match="changed while the job ran"):
        read(path, (10, 20), (20, 30))


def test_a_column_that_the_shard_lacks_is_null(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(10))
    (found,) = read(path, (2, 5), columns=("year", "query_id"))
    assert found.column_names == ["year", "query_id"]
    assert found["year"].to_pylist() == [None] * 3


def test_a_shard_that_was_rewritten_since_the_plan_is_an_input_error(tmp_path: Path):
    path = write(tmp_path / "in" / "a.parquet", flat(10))
    plan = make_plan(config(tmp_path / "in", tmp_path / "out"))
    write(path, flat(10, first=1000))
    os.utime(path, (1, 1))
    with pytest.raises(InputError, match="changed"):
        list(read_parts(list(plan.parts), plan.schema.columns))


def test_a_shard_with_damaged_pages_is_an_input_error(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(2000))
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[-8:-4], "little")
    content[4 : -8 - length] = b"\xff" * (len(content) - 12 - length)
    path.write_bytes(content)
    assert pq.ParquetFile(path).metadata.num_rows == 2000
    with pytest.raises(InputError, match=r"a\.parquet"):
        read(path, (0, 2000))


def test_rows_with_many_candidates_are_decoded_a_few_at_a_time(tmp_path: Path):
    rows, each, text = 400, 100, "lorem ipsum " * 100
    ends = pa.array(range(0, (rows + 1) * each, each), pa.int32())
    codes = pa.array([0] * (rows * each), pa.int32())
    passages = pa.DictionaryArray.from_arrays(codes, pa.array([text]))
    table = nested([0] * rows)
    for name, values in (("doc_id", pa.array(["d"] * rows * each)), ("passage", passages)):
        index = table.column_names.index(name)
        table = table.set_column(index, name, pa.ListArray.from_arrays(ends, values))
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in/a.parquet", store_schema=False)
    del table, passages
    plan = make_plan(config(tmp_path / "in", tmp_path / "out", "plan.part_rows=1000"))
    before = pa.total_allocated_bytes()
    _, part = next(iter(read_parts(list(plan.parts), plan.schema.columns)))
    assert part.num_rows == 10
    # All rows are 48 MB once they are decoded; these are 1.2 MB.
    assert pa.total_allocated_bytes() - before < 10_000_000
