"""Which files `input.path` names, and under which names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from reranker_core.errors import ConfigError, InputError
from reranker_core.input.shards import ShardFile, list_shards
from tests.tables import config


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def listed(source: Path | str | list[Path], output: Path | str = "elsewhere") -> list[ShardFile]:
    return list_shards(config(source, output))


def names(source: Path | str | list[Path]) -> list[str]:
    return [shard.name for shard in listed(source)]


def test_a_file_is_a_shard(tmp_path: Path):
    fill(tmp_path, "a.parquet", "b.parquet")
    (shard,) = listed(tmp_path / "a.parquet")
    assert shard.url == str(tmp_path / "a.parquet")
    assert shard.name == "a.parquet"
    assert shard.size == len("a.parquet")


def test_a_file_that_is_named_may_have_any_ending(tmp_path: Path):
    fill(tmp_path, "pairs.data")
    assert names(tmp_path / "pairs.data") == ["pairs.data"]


def test_a_folder_is_searched_to_its_ground_in_order(tmp_path: Path):
    fill(tmp_path, "b.parquet", "a/z.parquet", "a/y/1.parquet", "c.parquet")
    assert names(tmp_path) == ["a/y/1.parquet", "a/z.parquet", "b.parquet", "c.parquet"]


@pytest.mark.parametrize("ending", [".parquet", ".PARQUET", ".parq", ".pq"])
def test_endings_that_count_in_a_folder(tmp_path: Path, ending: str):
    fill(tmp_path, f"a{ending}", "b.csv", "README", "c.parquet.crc")
    assert names(tmp_path) == [f"a{ending}"]


@pytest.mark.parametrize(
    "hidden", ["_a.parquet", ".a.parquet", "_tmp/a.parquet", "x/.git/a.parquet", "_x/y/a.parquet"]
)
def test_hidden_names_in_a_folder_are_skipped(tmp_path: Path, hidden: str):
    fill(tmp_path, hidden, "b.parquet")
    assert names(tmp_path) == ["b.parquet"]


def test_a_folder_below_a_hidden_one_may_be_named(tmp_path: Path):
    fill(tmp_path / "_staging" / "day", "a.parquet")
    assert names(tmp_path / "_staging" / "day") == ["a.parquet"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.parquet", ["a1.parquet", "a2.parquet", "b1.parquet"]),
        ("a?.parquet", ["a1.parquet", "a2.parquet"]),
        ("[b]*.parquet", ["b1.parquet"]),
        ("sub*/*.parquet", ["sub1/x.parquet", "sub2/x.parquet"]),
        ("**/x.parquet", ["sub1/x.parquet", "sub2/x.parquet"]),
        ("sub1/*.parquet", ["x.parquet"]),
    ],
)
def test_a_glob_names_files_below_its_fixed_part(tmp_path: Path, pattern: str, found: list[str]):
    fill(tmp_path, "a1.parquet", "a2.parquet", "b1.parquet", "sub1/x.parquet", "sub2/x.parquet")
    assert names(f"{tmp_path}/{pattern}") == found


def test_a_folder_with_glob_signs_in_its_name_is_a_folder(tmp_path: Path):
    fill(tmp_path / "run[1]", "a.parquet")
    assert names(tmp_path / "run[1]") == ["a.parquet"]


def test_a_list_keeps_its_order_and_sorts_within_entries(tmp_path: Path):
    fill(tmp_path, "z/2.parquet", "z/1.parquet", "a.parquet")
    assert names([tmp_path / "z", tmp_path / "a.parquet"]) == [
        "1.parquet",
        "2.parquet",
        "a.parquet",
    ]


@pytest.mark.parametrize("missing", ["absent", "absent.parquet", "absent/*.parquet", "*.pq"])
def test_an_entry_that_matches_nothing_is_named(tmp_path: Path, missing: str):
    with pytest.raises(InputError, match="no shards there") as caught:
        listed(f"{tmp_path}/{missing}")
    assert f"{tmp_path}/{missing}" in str(caught.value)


def test_a_folder_without_shards_is_named(tmp_path: Path):
    fill(tmp_path, "a.csv", "_hidden.parquet")
    with pytest.raises(InputError, match="no shards there"):
        listed(tmp_path)


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
    ],
)
def test_output_and_input_may_not_overlap(tmp_path: Path, source: str, output: str):
    fill(tmp_path / "data" / "in", "a.parquet")
    with pytest.raises(ConfigError, match="overlap"):
        listed(f"{tmp_path}/{source}", f"{tmp_path}/{output}")


def test_a_recursive_glob_may_not_reach_into_the_output(tmp_path: Path):
    fill(tmp_path / "data", "a.parquet")
    with pytest.raises(ConfigError, match="overlap"):
        listed(f"{tmp_path}/data/**/*.parquet", f"{tmp_path}/data/out")


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


def test_a_trailing_slash_changes_nothing(tmp_path: Path):
    fill(tmp_path, "a.parquet", "b/c.parquet")
    assert listed(f"{tmp_path}/") == listed(tmp_path)


def test_a_relative_path_finds_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fill(tmp_path / "in", "a.parquet")
    monkeypatch.chdir(tmp_path)
    assert listed("in") == listed(tmp_path / "in")


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
