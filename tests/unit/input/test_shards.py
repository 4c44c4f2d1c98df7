"""Which files an entry of `input.path` names, and what all entries may not hold together."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from reranker_core.errors import ConfigError, InputError
from tests.listings import fill, listed, names


def test_a_file_is_a_shard(tmp_path: Path):
    fill(tmp_path, "a.parquet", "b.parquet")
    (shard,) = listed(tmp_path / "a.parquet")
    assert shard.url == str(tmp_path / "a.parquet")
    assert shard.name == "a.parquet"
    assert shard.size == len("a.parquet")


def test_a_file_that_is_named_may_have_any_ending(tmp_path: Path):
    fill(tmp_path, "pairs.data")
    assert names(tmp_path / "pairs.data") == ["pairs.data"]


def test_a_list_keeps_its_order_and_sorts_within_entries(tmp_path: Path):
    fill(tmp_path, "z/2.parquet", "z/1.parquet", "a.parquet")
    assert names([tmp_path / "z", tmp_path / "a.parquet"]) == [
        "1.parquet",
        "2.parquet",
        "a.parquet",
    ]


def test_one_missing_entry_of_a_list_is_an_error(tmp_path: Path):
    fill(tmp_path, "a.parquet")
    with pytest.raises(InputError, match="absent"):
        listed([tmp_path / "a.parquet", tmp_path / "absent"])


def test_an_empty_list_is_an_error():
    with pytest.raises(InputError, match="empty"):
        listed([])


def test_a_file_that_is_named_twice_is_an_error(tmp_path: Path):
    fill(tmp_path, "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet twice"):
        listed([tmp_path, tmp_path / "a.parquet"])


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("data", "data"),
        ("data", "data/"),
        ("data", "data/out"),
        ("data/in", "data"),
        ("data/in/a.parquet", "data/in"),
        ("data/in/a.parquet", "data"),
        ("data/in/*.parquet", "data/in"),
        ("data/in/*.parquet", "data"),
        ("data/in/../in", "data/in"),
        ("data/in/**/*.parquet", "data/in/out"),
    ],
)
def test_output_and_input_may_not_overlap(tmp_path: Path, source: str, output: str):
    fill(tmp_path / "data" / "in", "a.parquet")
    with pytest.raises(ConfigError, match="overlap"):
        listed(f"{tmp_path}/{source}", f"{tmp_path}/{output}")


@pytest.mark.parametrize("output", ["data-out", "dat", "other/data", "data/a.parquet.out"])
def test_an_output_beside_the_input_is_fine(tmp_path: Path, output: str):
    fill(tmp_path / "data", "a.parquet")
    source = tmp_path / "data"
    source = source / "a.parquet" if output.startswith("data/") else source
    assert listed(source, tmp_path / output)


def test_names_do_not_depend_on_where_the_input_is(tmp_path: Path):
    fill(tmp_path / "here", "a.parquet", "b/c.parquet")
    shutil.copytree(tmp_path / "here", tmp_path / "there" / "deeper")
    assert names(tmp_path / "here") == names(tmp_path / "there" / "deeper")
    assert names(f"{tmp_path}/here/b/*") == names(f"{tmp_path}/there/deeper/b/*")


def test_the_etag_changes_with_the_file(tmp_path: Path):
    fill(tmp_path, "a.parquet")
    (before,) = listed(tmp_path)
    assert listed(tmp_path) == [before]
    os.utime(tmp_path / "a.parquet", (1, 1))
    (after,) = listed(tmp_path)
    assert after.etag != before.etag


def test_a_file_that_came_since_the_last_listing_is_found(tmp_path: Path):
    fill(tmp_path, "a.parquet")
    listed(tmp_path)
    fill(tmp_path, "b.parquet")
    assert names(tmp_path) == ["a.parquet", "b.parquet"]


def test_names_and_states_are_those_that_outputs_were_begun_with(tmp_path: Path):
    # Names, sizes and etags name the parts of an output, so they may never change.
    fill(tmp_path, "a.parquet", "dt=1/b c.parquet")
    for name in ("a.parquet", "dt=1/b c.parquet"):
        os.utime(tmp_path / name, (1_700_000_000.25, 1_700_000_000.25))
    expected = [("a.parquet", 9, "9-1700000000.25"), ("dt=1/b c.parquet", 16, "16-1700000000.25")]
    for way in ("", "/**/*.parquet", "/**"):
        found = listed(f"{tmp_path}{way}")
        assert [(shard.name, shard.size, shard.etag) for shard in found] == expected
    (named,) = listed(tmp_path / "dt=1" / "b c.parquet")
    assert named.name == "b c.parquet"
