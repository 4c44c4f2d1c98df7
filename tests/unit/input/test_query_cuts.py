"""Cuts of flat shards never divide a query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from reranker_core.errors import InputError
from reranker_core.input.plan import make_plan
from reranker_core.input.query_cuts import check_query_order, move_to_query_starts
from tests.tables import config, flat, write


def even_cuts(rows: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(start + step, rows)) for start in range(0, rows, step)]


def moved(path: Path, cuts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return move_to_query_starts(cuts, str(path), "query_id")


def ids(path: Path, values: object, row_group_size: int | None = None) -> Path:
    return write(path, pa.table({"query_id": values}), row_group_size)


def first_query_start(codes: np.ndarray, row: int) -> int:
    while row < len(codes) and codes[row] == codes[row - 1]:
        row += 1
    return row


@pytest.mark.parametrize("seed", range(25))
def test_cuts_move_to_the_next_query_and_no_further(tmp_path: Path, seed: int):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, rng.choice([2, 6, 60]) + 1, 40)
    codes = np.repeat(rng.permutation(40), lengths)
    names = pa.array([f"q{code}" for code in codes])
    path = ids(tmp_path / "a.parquet", names, int(rng.integers(1, 50)))
    cuts = even_cuts(len(codes), int(rng.integers(1, 40)))

    found = moved(path, cuts)
    starts = {first_query_start(codes, start) for start, _ in cuts[1:]} - {len(codes)}
    assert found == list(zip([0, *sorted(starts)], [*sorted(starts), len(codes)], strict=True))


def test_cuts_at_query_starts_stay(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(12, per_query=3))
    assert moved(path, [(0, 3), (3, 9), (9, 12)]) == [(0, 3), (3, 9), (9, 12)]


def test_a_query_as_long_as_the_shard_is_one_part(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(12, per_query=12))
    assert moved(path, even_cuts(12, 3)) == [(0, 12)]


def test_queries_that_cross_the_reader_s_batches_are_not_divided(tmp_path: Path):
    # pyarrow reads 65,536 rows at a time.
    codes = np.repeat(np.arange(200_000 // 1000), 1000)
    path = ids(tmp_path / "a.parquet", codes)
    found = moved(path, even_cuts(200_000, 65_536))
    assert found == [(0, 66_000), (66_000, 132_000), (132_000, 197_000), (197_000, 200_000)]


def test_a_query_that_begins_with_a_batch_of_the_reader_is_a_start(tmp_path: Path):
    codes = (np.arange(100_000) >= 65_536).astype(np.int64)
    path = ids(tmp_path / "a.parquet", codes)
    assert moved(path, [(0, 60_000), (60_000, 100_000)]) == [(0, 65_536), (65_536, 100_000)]


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_query_ids_may_have_any_type(tmp_path: Path, kind: pa.DataType):
    values = pa.array(["1", "1", "1", "2", "2", "3"])
    values = values.dictionary_encode() if pa.types.is_dictionary(kind) else values.cast(kind)
    path = ids(tmp_path / "a.parquet", values)
    assert moved(path, [(0, 2), (2, 6)]) == [(0, 3), (3, 6)]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
def test_zeros_of_both_signs_are_one_query_and_so_are_nans(tmp_path: Path, kind: pa.DataType):
    nan = float("nan")
    values = [np.array([0.0, -0.0, 0.0, nan, -nan, nan, 1.0, 1.0], kind.to_pandas_dtype())]
    path = ids(tmp_path / "a.parquet", pa.chunked_array(values), row_group_size=2)
    assert moved(path, even_cuts(8, 1)) == [(0, 3), (3, 6), (6, 8)]
    check_query_order([str(path)], "query_id")
    again = ids(tmp_path / "b.parquet", pa.array(np.array([-0.0], kind.to_pandas_dtype())))
    with pytest.raises(InputError, match="continues in"):
        check_query_order([str(path), str(again)], "query_id")


def test_a_query_that_goes_on_in_the_next_shard_is_refused(tmp_path: Path):
    first = write(tmp_path / "a.parquet", flat(6, per_query=4))
    second = write(tmp_path / "b.parquet", flat(6, per_query=4, first=6))
    with pytest.raises(InputError, match=r"a\.parquet \(from row 4\) continues in .*b\.parquet"):
        check_query_order([str(first), str(second)], "query_id")


def test_shards_that_end_with_a_query_are_fine(tmp_path: Path):
    first = write(tmp_path / "a.parquet", flat(8, per_query=4))
    second = write(tmp_path / "b.parquet", flat(8, per_query=4, first=8))
    check_query_order([str(first), str(second)], "query_id")


def test_a_plan_with_ranks_refuses_it_and_one_without_does_not(tmp_path: Path):
    write(tmp_path / "a.parquet", flat(6, per_query=4))
    write(tmp_path / "b.parquet", flat(6, per_query=4, first=6))
    with pytest.raises(InputError, match=r"output\.rank=false"):
        make_plan(config(tmp_path, "elsewhere", "output.rank=true"))
    assert make_plan(config(tmp_path, "elsewhere")).rows == 12


def test_an_empty_shard_between_does_not_hide_it(tmp_path: Path):
    write(tmp_path / "a.parquet", flat(6, per_query=4))
    write(tmp_path / "b.parquet", flat(0).cast(flat(1).schema))
    write(tmp_path / "c.parquet", flat(6, per_query=4, first=6))
    with pytest.raises(InputError, match="continues in"):
        make_plan(config(tmp_path, "elsewhere", "output.rank=true"))


def test_no_part_of_a_plan_with_ranks_divides_a_query(tmp_path: Path):
    table = flat(1000, per_query=7)
    write(tmp_path / "a.parquet", table, row_group_size=90)
    plan = make_plan(config(tmp_path, "elsewhere", "output.rank=true", "plan.part_rows=50"))
    queries = table["query_id"].to_pylist()
    assert len(plan.parts) > 5
    for part in plan.parts[1:]:
        assert queries[part.start] != queries[part.start - 1]


def test_dictionary_encoded_ids_are_compared_by_value(tmp_path: Path):
    for name, first in (("a", 0), ("b", 6)):
        table = flat(6, per_query=4, first=first)
        ids = table["query_id"].combine_chunks().dictionary_encode()
        table = table.set_column(table.column_names.index("query_id"), "query_id", ids)
        write(tmp_path / f"{name}.parquet", table)
    with pytest.raises(InputError, match="continues in"):
        check_query_order([str(tmp_path / f"{name}.parquet") for name in "ab"], "query_id")


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
def test_a_query_that_returns_after_others_is_refused(tmp_path: Path, kind: pa.DataType):
    first = ids(tmp_path / "a.parquet", pa.array(["1", "1", "2", "3"]).cast(kind))
    second = ids(tmp_path / "b.parquet", pa.array(["4", "5"]).cast(kind))
    third = ids(tmp_path / "c.parquet", pa.array(["6", "2", "2"]).cast(kind))
    with pytest.raises(
        InputError, match=r"a\.parquet \(from row 2\) continues in .*c\.parquet \(row 1"
    ):
        check_query_order([str(first), str(second), str(third)], "query_id")


def test_a_query_that_returns_within_a_shard_is_refused(tmp_path: Path):
    path = ids(tmp_path / "a.parquet", pa.array([1, 1, 2, 1]))
    with pytest.raises(InputError, match=r"from row 0\) continues in .*row 3"):
        check_query_order([str(path)], "query_id")


def test_a_query_longer_than_a_batch_of_the_reader_does_not_return(tmp_path: Path):
    path = ids(tmp_path / "a.parquet", np.repeat([1, 2], 100_000))
    check_query_order([str(path)], "query_id")


def test_ids_of_equal_hash_are_told_apart(tmp_path: Path):
    assert hash(-1) == hash(-2)
    path = ids(tmp_path / "a.parquet", pa.array([-1, -2, 5]))
    check_query_order([str(path)], "query_id")
