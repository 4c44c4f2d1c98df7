"""Folders and globs: one rule for what is found, skipped and counted."""

from __future__ import annotations

import uuid
from pathlib import Path

import fsspec
import pytest

from reranker_core.errors import InputError
from tests.listings import fill, listed, names, passed_over
from tests.tables import flat, write

WAYS = ["", "/", "/*", "/**", "/**/*.parquet", "/*.parquet"]


def test_a_folder_is_searched_to_its_ground_in_order(tmp_path: Path):
    fill(tmp_path, "b.parquet", "a/z.parquet", "a/y/1.parquet", "c.parquet")
    assert names(tmp_path) == ["a/y/1.parquet", "a/z.parquet", "b.parquet", "c.parquet"]


@pytest.mark.parametrize(
    "ending", [".parquet", ".PARQUET", ".parq", ".pq", ".parquet.gzip", ".pq.SNAPPY"]
)
def test_endings_that_count_in_a_folder(tmp_path: Path, ending: str):
    fill(tmp_path, f"a{ending}", "b.csv", "README", "c.parquet.crc")
    assert names(tmp_path) == [f"a{ending}"]


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


@pytest.mark.parametrize("way", WAYS)
def test_folders_and_globs_have_one_rule(tmp_path: Path, way: str):
    fill(tmp_path, "part-0.parquet", "_SUCCESS", ".part-0.parquet.crc", "_metadata", ".a.parquet")
    fill(tmp_path, "_temporary/0/task/part-1.parquet", "_spark/x.parquet", "x/.git/a.parquet")
    assert names(f"{tmp_path}{way}") == ["part-0.parquet"]


@pytest.mark.parametrize("way", WAYS[:5])
def test_what_a_glob_matches_is_read_with_what_lies_in_it(tmp_path: Path, way: str):
    # Spark writes a folder of the name that it was given.
    fill(tmp_path, "pairs.parquet/part-0.parquet", "pairs.parquet/_temporary/0/part-1.parquet")
    fill(tmp_path, "dt=1/x.parquet", "dt=1/y/z.parquet")
    assert names(f"{tmp_path}{way}") == [
        "dt=1/x.parquet",
        "dt=1/y/z.parquet",
        "pairs.parquet/part-0.parquet",
    ]
    assert names(f"{tmp_path}/*.parquet") == ["pairs.parquet/part-0.parquet"]
    assert names(f"{tmp_path}/dt=*/") == ["dt=1/x.parquet", "dt=1/y/z.parquet"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("_staging/*.parquet", ["a.parquet"]),
        ("_stag*/*.parquet", ["_staging/a.parquet"]),
        ("[_]staging/*", ["_staging/a.parquet"]),
        ("*/_inner/*.parquet", ["day/_inner/b.parquet"]),
        ("**/_inner/*.parquet", ["day/_inner/b.parquet"]),
        ("*/_b.parquet", ["day/_b.parquet"]),
        ("**/.c*", ["day/.c.parquet"]),
    ],
)
def test_a_hidden_name_is_read_where_the_pattern_names_it(
    tmp_path: Path, pattern: str, found: list[str]
):
    fill(tmp_path, "_staging/a.parquet", "_staging/_more/a.parquet", "day/_inner/b.parquet")
    fill(tmp_path, "day/_b.parquet", "day/.c.parquet")
    assert names(f"{tmp_path}/{pattern}") == found


def test_what_is_passed_over_is_counted_by_reason(tmp_path: Path):
    fill(tmp_path, "a.parquet", "_SUCCESS", ".a.parquet.crc", "_temporary/0/b.parquet")
    fill(tmp_path, "_temporary/1/c.parquet", "day/README.md", "day/b.parquet", "rows.csv")
    (tmp_path / "day" / "up").symlink_to(tmp_path)
    assert names(tmp_path) == ["a.parquet", "day/b.parquet"]
    for way in ("", "/*", "/**"):
        assert passed_over(f"{tmp_path}{way}") == {"hidden": 3, "not_parquet": 2, "link_loop": 1}
    assert passed_over(f"{tmp_path}/*.parquet") == {}
    assert passed_over(tmp_path / "a.parquet") == {}


def test_a_store_answers_as_a_disk_does(tmp_path: Path):
    memory = fsspec.filesystem("memory")
    root = f"/{uuid.uuid4()}"
    held = ["a.parquet", "_SUCCESS", "_temporary/0/b.parquet", "day/README.md", "day/b.parquet"]
    held += ["day/_x/c.parquet", "day=1.parquet/part-0.parquet"]
    fill(tmp_path, *held)
    for name in held:
        memory.pipe_file(f"{root}/{name}", name.encode())
    for way in [*WAYS, "/day*", "/**/_x/*", "/day/*.parquet", "/[ad]*"]:
        stored = listed(f"memory:/{root}{way}")
        assert [shard.name for shard in stored] == names(f"{tmp_path}{way}"), way
        assert passed_over(f"memory:/{root}{way}") == passed_over(f"{tmp_path}{way}"), way
        assert all(shard.url.startswith(f"memory:/{root}/") for shard in stored)


@pytest.mark.parametrize("suffix", ["", ".c000", "-0-attempt"])
def test_files_whose_names_tell_nothing_are_read_where_they_are_parquet(
    tmp_path: Path, suffix: str
):
    write(tmp_path / f"part-00000{suffix}", flat(2))
    write(tmp_path / f"part-00001{suffix}", flat(2))
    fill(tmp_path, "notes", "LICENSE")
    assert names(tmp_path) == names(f"{tmp_path}/*") == [f"part-0000{n}{suffix}" for n in (0, 1)]
    assert passed_over(tmp_path) == {"not_parquet": 2}


def test_files_whose_names_tell_nothing_do_not_count_beside_parquet(tmp_path: Path):
    write(tmp_path / "part-00000", flat(2))
    write(tmp_path / "a.snappy.parquet", flat(2))
    assert names(tmp_path) == ["a.snappy.parquet"]
    assert passed_over(tmp_path) == {"not_parquet": 1}


@pytest.mark.parametrize("folder", ["", "dt=\udcfc", "day \udcff"])
def test_names_that_are_not_utf8_are_refused_with_escapes(tmp_path: Path, folder: str):
    fill(tmp_path, "a.parquet")
    fill(tmp_path, "notes \udcff.txt")  # is not read
    assert names(tmp_path) == ["a.parquet"]
    fill(tmp_path / folder, "b.parquet" if folder else "b\udcff.parquet")
    with pytest.raises(InputError, match=r"/.*\\x(ff|fc).*: the name .* is not UTF-8. Rename it"):
        names(tmp_path)
