"""Lists beside the passages that do not fit are found in the plan, or where the part is read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from reranker_core.errors import InputError
from reranker_core.input.companions import check_companions
from reranker_core.input.plan import make_plan
from reranker_core.input.reading import read_parts
from tests.tables import config, nested, structs, write

KEYS = ("report.first_stage", "report.label", "training.positive_column")


def shard(folder: Path, values: list[list[float] | None], counts: tuple[int, ...] = (2, 3, 1)):
    lists = pa.array(values, pa.list_(pa.float64()))
    return write(folder / "a.parquet", nested(list(counts), bm25=lists), row_group_size=2)


def read(path: Path, *overrides: str) -> int:
    settings = config(path, "elsewhere", *overrides)
    plan = make_plan(settings)
    for part in plan.parts:
        for _, table in read_parts([part], plan.schema.columns):
            check_companions(table, plan.schema, settings, (part.shard, part.start))
    return plan.rows


@pytest.mark.parametrize("key", KEYS)
def test_a_shorter_list_is_found_by_the_plan(tmp_path: Path, key: str):
    path = shard(tmp_path, [[1, 2], [1, 2], [1]])
    with pytest.raises(InputError) as caught:
        make_plan(config(path, "elsewhere", f"{key}=bm25"))
    assert f"{path}: row 1: column 'bm25' has 2 values, but the row has 3 candidates" in str(
        caught.value
    )


def test_the_row_is_counted_from_the_start_of_the_shard(tmp_path: Path):
    path = shard(tmp_path, [[1, 2], [1, 2, 3], [1, 2, 3]])
    with pytest.raises(InputError, match=r"row 2: column 'bm25' has 3 values, .* 1 candidate"):
        make_plan(config(path, "elsewhere", "report.label=bm25"))


def test_lists_that_are_only_shifted_are_found_when_the_part_is_read(tmp_path: Path):
    path = shard(tmp_path, [[1, 2, 3], [1, 2], [1]])
    assert make_plan(config(path, "elsewhere", "report.label=bm25")).rows == 3
    with pytest.raises(InputError, match=r"row 0: column 'bm25' has 3 values, .* 2 candidates"):
        read(path, "report.label=bm25")


def test_null_lists_fit(tmp_path: Path):
    assert read(shard(tmp_path, [None, [1, 2, 3], None]), "report.label=bm25") == 3


def test_lists_that_no_key_names_are_no_companions(tmp_path: Path):
    assert read(shard(tmp_path, [[1], [], [1, 2, 3, 4]])) == 3


def test_rows_whose_ids_do_not_fit_have_a_status_instead(tmp_path: Path):
    table = nested([2, 2], bm25=pa.array([[1.0], [1.0, 2.0]]))
    ids = pa.array([["d"], ["d", "e"]])
    path = write(tmp_path / "a.parquet", table.set_column(2, "doc_id", ids))
    assert read(path, "report.label=bm25") == 2


def test_members_of_the_candidates_always_fit(tmp_path: Path):
    path = write(tmp_path / "a.parquet", structs([2, 3]))
    names = ("input.columns.passage=candidates.passage", "report.label=candidates.year")
    assert read(path, *names) == 2
