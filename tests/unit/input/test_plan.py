"""Cutting shards into parts, and the names of parts."""

from __future__ import annotations

import os
import shutil
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reranker_core.errors import InputError
from reranker_core.input.plan import Plan, RowGroup, cut, make_plan, part_rows, read_groups
from tests.tables import STRUCT_COLUMNS, config, flat, nested, structs, write

HUGE = 1 << 40


def groups(*rows: int, per_row: int = 1, row_bytes: int = 10) -> list[RowGroup]:
    return [RowGroup(count, count * per_row, count * row_bytes) for count in rows]


def plan(source: Path | list[Path], *overrides: str) -> Plan:
    return make_plan(config(source, "elsewhere", *overrides))


def names(source: Path | list[Path], *overrides: str) -> list[str]:
    return [part.name for part in plan(source, *overrides).parts]


def ranges(source: Path, *overrides: str) -> list[tuple[int, int]]:
    return [(part.start, part.stop) for part in plan(source, *overrides).parts]


@pytest.mark.parametrize("seed", range(40))
def test_cuts_cover_every_row_once_within_the_bounds(seed: int):
    rng = np.random.default_rng(seed)
    row_groups = [
        RowGroup(int(rows), int(rows * rng.integers(1, 5)), int(rows * rng.integers(1, 500)))
        for rows in rng.integers(0, 120, rng.integers(0, 12))
    ]
    part_rows, part_bytes = int(rng.integers(1, 200)), int(rng.integers(500, 50_000))
    cuts = cut(row_groups, part_rows, part_bytes)

    covered = [row for start, stop in cuts for row in range(start, stop)]
    assert covered == list(range(sum(group.rows for group in row_groups)))

    edges = {0, *accumulate(group.rows for group in row_groups)}
    per_row = [
        (group.pairs / group.rows, group.bytes / group.rows)
        for group in row_groups
        for _ in range(group.rows)
    ]
    for start, stop in cuts:
        assert stop > start
        if stop - start > 1:
            pairs, size = np.sum(per_row[start:stop], axis=0)
            # A slice of one row group may be a row too long, where rows hold several pairs.
            slack = 1 if {start, stop} <= edges else 1 + 1 / (stop - start - 1)
            assert pairs <= part_rows * slack + 1e-6
            assert size <= part_bytes * slack + 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_flat_parts_never_hold_more_than_part_rows(seed: int):
    rng = np.random.default_rng(seed)
    row_groups = groups(*rng.integers(0, 300, 8).tolist())
    part_rows = int(rng.integers(1, 100))
    assert max(stop - start for start, stop in cut(row_groups, part_rows, HUGE)) <= part_rows


def test_small_row_groups_are_kept_whole():
    assert cut(groups(40, 40, 40, 40), 100, HUGE) == [(0, 80), (80, 160)]


def test_row_groups_that_fit_exactly_are_one_part():
    assert cut(groups(50, 50, 1), 100, HUGE) == [(0, 100), (100, 101)]


def test_a_large_row_group_is_sliced_evenly():
    assert cut(groups(101), 100, HUGE) == [(0, 51), (51, 101)]


def test_slices_do_not_reach_into_the_neighbours_of_a_large_row_group():
    assert cut(groups(10, 150, 10), 100, HUGE) == [(0, 10), (10, 85), (85, 160), (160, 170)]


def test_bytes_bound_a_part_too():
    assert cut(groups(40, 40, row_bytes=10), 1000, 400) == [(0, 40), (40, 80)]
    assert cut(groups(40, row_bytes=100), 1000, 1000) == [
        (start, start + 10) for start in range(0, 40, 10)
    ]


def test_a_row_larger_than_a_part_is_a_part():
    assert cut(groups(3, row_bytes=5000), 1000, 1000) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("row_groups", [[], groups(0), groups(0, 0, 0)])
def test_no_rows_are_no_parts(row_groups: list[RowGroup]):
    assert cut(row_groups, 10, HUGE) == []


def test_cuts_follow_the_row_groups_of_the_file(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(100), row_group_size=30)
    assert ranges(tmp_path / "in", "plan.part_rows=60") == [(0, 60), (60, 100)]


def test_a_plan_counts_rows_and_pairs_of_flat_shards(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(10))
    write(tmp_path / "in" / "b.parquet", flat(5))
    found = plan(tmp_path / "in")
    assert (found.rows, found.pairs) == (15, 15)
    assert [part.pairs for part in found.parts] == [10, 5]


def test_rows_of_nested_shards_weigh_as_many_pairs_as_they_hold(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", nested([10] * 20))
    found = plan(tmp_path / "in", "plan.part_rows=50")
    assert [part.rows for part in found.parts] == [5, 5, 5, 5]
    assert [part.pairs for part in found.parts] == [50, 50, 50, 50]


def test_rows_of_struct_candidates_weigh_as_many_pairs_as_they_hold(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", structs([10] * 20))
    found = plan(tmp_path / "in", "plan.part_rows=100", *STRUCT_COLUMNS)
    assert [part.rows for part in found.parts] == [10, 10]
    assert found.pairs == 200


def test_columns_that_are_not_read_do_not_weigh(tmp_path: Path):
    rng = np.random.default_rng(0)
    blobs = [rng.bytes(1000) for _ in range(100)]
    write(tmp_path / "in" / "a.parquet", flat(100, blob=blobs))
    assert len(ranges(tmp_path / "in", "plan.part_bytes=30000")) > 1
    assert len(ranges(tmp_path / "in", "plan.part_bytes=30000", "output.passthrough=[]")) == 1


def test_part_names_are_distinct_and_safe_for_readers(tmp_path: Path):
    for name in ("a.parquet", "_odd/name with=signs.parquet", "deep/" * 30 + "x.parquet"):
        write(tmp_path / "in" / name, flat(10))
    source = [tmp_path / "in", tmp_path / "in" / "_odd"]
    found = names(source, "plan.part_rows=3")
    assert len(set(found)) == len(found) == 12
    for name in found:
        assert not name.startswith(("_", "."))
        assert "/" not in name
        assert len(name) < 120


def test_part_names_stay_when_the_input_is_listed_again(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(10))
    assert names(tmp_path / "in") == names(tmp_path / "in")


def test_part_names_stay_when_other_shards_are_added(tmp_path: Path):
    write(tmp_path / "in" / "m.parquet", flat(10))
    before = names(tmp_path / "in", "plan.part_rows=4")
    write(tmp_path / "in" / "a.parquet", flat(10))
    write(tmp_path / "in" / "z.parquet", flat(10))
    assert set(before) < set(names(tmp_path / "in", "plan.part_rows=4"))


def test_part_names_stay_when_the_folder_is_moved(tmp_path: Path):
    write(tmp_path / "in" / "day" / "a.parquet", flat(10))
    before = names(tmp_path / "in")
    shutil.move(tmp_path / "in", tmp_path / "moved")
    assert names(tmp_path / "moved") == before


def test_part_names_do_not_depend_on_settings_that_cut_nothing(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(10))
    assert names(tmp_path / "in") == names(
        tmp_path / "in", "replicas.max=3", "score.max_batch_tokens=99", "plan.part_rows=100"
    )


def test_part_names_change_with_the_file(tmp_path: Path):
    path = write(tmp_path / "in" / "a.parquet", flat(10))
    before = names(tmp_path / "in")
    os.utime(path, (1, 1))
    assert not set(before) & set(names(tmp_path / "in"))


def test_part_names_change_with_the_rows(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(100))
    whole = names(tmp_path / "in", "plan.part_rows=100")
    assert not set(whole) & set(names(tmp_path / "in", "plan.part_rows=50"))


def test_equal_files_of_one_name_in_two_folders_are_distinct_parts(tmp_path: Path):
    path = write(tmp_path / "day1" / "x.parquet", flat(10))
    shutil.copytree(tmp_path / "day1", tmp_path / "day2")  # with times
    assert path.stat().st_mtime == (tmp_path / "day2" / "x.parquet").stat().st_mtime
    found = names([tmp_path / "day1", tmp_path / "day2"])
    assert len(set(found)) == 2


def test_a_shard_without_rows_has_no_parts(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(0).cast(flat(1).schema))
    write(tmp_path / "in" / "b.parquet", flat(5))
    found = plan(tmp_path / "in")
    assert [len(found.shards), len(found.parts), found.rows] == [2, 1, 5]


def test_only_shards_without_rows_are_an_empty_plan(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(0).cast(flat(1).schema))
    found = plan(tmp_path / "in")
    assert (found.parts, found.rows, found.pairs) == ((), 0, 0)


def test_all_unreadable_shards_are_named_at_once(tmp_path: Path):
    good = write(tmp_path / "in" / "good.parquet", flat(10))
    (tmp_path / "in" / "empty.parquet").write_bytes(b"")
    (tmp_path / "in" / "cut.parquet").write_bytes(good.read_bytes()[:-20])
    (tmp_path / "in" / "noise.parquet").write_bytes(b"no parquet at all" * 10)
    with pytest.raises(InputError) as caught:
        plan(tmp_path / "in")
    message = str(caught.value)
    for name in ("empty.parquet", "cut.parquet", "noise.parquet", "3 of 4 shards"):
        assert name in message
    assert "good.parquet" not in message
    assert caught.value.exit_code == 2


def test_a_long_list_of_unreadable_shards_is_cut(tmp_path: Path):
    for i in range(30):
        (tmp_path / f"{i}.parquet").write_bytes(b"")
    with pytest.raises(InputError, match="30 of 30") as caught:
        plan(tmp_path)
    assert len(str(caught.value).splitlines()) < 20
    assert "and 20 more" in str(caught.value)


def test_a_damaged_footer_is_named(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(10))
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[-8:-4], "little")
    content[-8 - length : -8] = b"\xff" * length
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet: its Parquet footer is damaged"):
        plan(tmp_path)


def read_together(source: Path, *overrides: str) -> list[list[tuple[int, int]]]:
    found = plan(source, *overrides)
    return [[(p.start, p.stop) for p in group] for group in read_groups(found.parts, found)]


def test_slices_of_a_large_row_group_are_read_together(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(60), row_group_size=30)
    assert read_together(tmp_path / "in", "plan.part_rows=10") == [
        [(0, 10), (10, 20), (20, 30)],
        [(30, 40), (40, 50), (50, 60)],
    ]


def test_parts_of_whole_row_groups_are_read_alone(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(60), row_group_size=10)
    assert read_together(tmp_path / "in", "plan.part_rows=20") == [
        [(0, 20)],
        [(20, 40)],
        [(40, 60)],
    ]


def test_parts_of_two_shards_are_not_read_together(tmp_path: Path):
    for name in "ab":
        write(tmp_path / "in" / f"{name}.parquet", flat(20))
    assert read_together(tmp_path / "in", "plan.part_rows=10") == [
        [(0, 10), (10, 20)],
        [(0, 10), (10, 20)],
    ]


def test_what_is_left_of_a_row_group_is_read_together(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(40))
    found = plan(tmp_path / "in", "plan.part_rows=10")
    left = [found.parts[1], found.parts[3]]  # the others are committed
    assert list(read_groups(left, found)) == [left]


def test_cuts_that_were_moved_to_query_starts_do_not_chain_a_whole_shard(tmp_path: Path):
    # Queries of 99 rows seldom end where the row groups of 100 do.
    write(tmp_path / "in" / "a.parquet", flat(1000, per_query=99), row_group_size=100)
    found = read_together(tmp_path / "in", "plan.part_rows=100", "output.rank=true")
    assert max(map(len, found)) <= 2


def test_ranks_of_flat_shards_cut_at_query_starts(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(20, per_query=4))
    assert ranges(tmp_path / "in", "plan.part_rows=5", "output.rank=true") == [
        (0, 8),
        (8, 12),
        (12, 16),
        (16, 20),
    ]


def test_shards_of_two_schemas_are_an_error(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(3))
    write(tmp_path / "in" / "b.parquet", flat(3).drop_columns(["passage"]))
    with pytest.raises(InputError, match=r"b\.parquet: column 'passage' is missing"):
        plan(tmp_path / "in")


def test_only_footers_are_read(tmp_path: Path):
    path = write(tmp_path / "a.parquet", flat(50))
    before = ranges(tmp_path)
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[-8:-4], "little")
    content[4 : -8 - length] = b"\0" * (len(content) - 12 - length)
    path.write_bytes(content)
    assert ranges(tmp_path) == before


def test_a_schema_is_resolved_from_the_first_shard(tmp_path: Path):
    write(tmp_path / "a.parquet", flat(2, year=pa.array([1, 2])))
    assert "year" in plan(tmp_path).schema.carried
    assert pq.read_schema(tmp_path / "a.parquet").names == list(plan(tmp_path).schema.columns)


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        ([], 8192),
        (["plan.part_rows=100"], 100),
        (["plan.part_rows=auto"], 8192),
        (["plan.part_rows=auto", "replicas.num_gpus=0"], 8192),
        (["plan.part_rows=auto", "replicas.num_gpus=0.5"], 65_536),
        (["plan.part_rows=auto", "model.device=cuda"], 65_536),
        (["plan.part_rows=auto", "model.device=cpu", "replicas.num_gpus=1"], 8192),
    ],
)
def test_parts_are_larger_where_replicas_have_gpus(settings: list[str], rows: int):
    assert part_rows(config("in", "out", *settings)) == rows
