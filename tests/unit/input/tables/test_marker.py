"""A folder that is a table is never read as plain Parquet, wherever its marker is."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import fsspec
import pytest

from reranker_core.errors import InputError
from reranker_core.input.shards import list_shards
from tests.tables import config, flat, write

DELTA = ["_delta_log/00000000000000000000.json", "a.parquet", "part=1/b.parquet"]
HUDI = [".hoodie/hoodie.properties", "a.parquet", "part=1/b.parquet"]
ICEBERG = ["metadata/v1.metadata.json", "data/a.parquet", "data/part=1/b.parquet"]
CATALOG = [
    "metadata/00003-8d3c3b1e-45b0-4a71-8d1c-3f1d0a5b9c11.metadata.json",
    "metadata/version-hint.text",
    "data/part=1/b.parquet",
]
ZIPPED = ["metadata/v12.gz.metadata.json", "data/part=1/b.parquet"]
TABLES = {"Delta": DELTA, "Hudi": HUDI, "Iceberg": ICEBERG}
BY_NAME = [("Delta", DELTA), ("Hudi", HUDI), ("Iceberg", ICEBERG), ("Iceberg", CATALOG)]
BY_NAME.append(("Iceberg", ZIPPED))


def fill(root: str, names: list[str]) -> str:
    filesystem, path = fsspec.url_to_fs(root)
    for name in names:
        filesystem.makedirs(f"{path}/{name}".rpartition("/")[0], exist_ok=True)
        filesystem.pipe_file(f"{path}/{name}", b"{}")
    return root


@pytest.fixture(params=["disk", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "disk" else f"memory://{uuid.uuid4()}"


def refusal(entry: str) -> str:
    with pytest.raises(InputError) as caught:
        list_shards(config(entry, "elsewhere"))
    return str(caught.value)


def names(entry: str) -> list[str]:
    return [shard.name for shard in list_shards(config(entry, "elsewhere"))]


@pytest.mark.parametrize(("title", "held"), BY_NAME)
@pytest.mark.parametrize(
    "way",
    ["t", "t/", "t/*", "t/**/*.parquet", "*", "*/**/*.parquet", "", "**/*.parquet", "**/part=1",
     "t/*/part=1/*", "[t]/**"],
)  # fmt: skip
def test_a_table_is_refused(root: str, title: str, held: list[str], way: str):
    if "*/part=1/" in way and title != "Iceberg":
        way = "t/part=*/*"
    fill(f"{root}/deep/t", held)
    told = refusal(f"{root}/deep/{way}")
    assert "/deep/t" in told
    assert f"{title} table" in told


@pytest.mark.parametrize(("title", "held"), [*TABLES.items()])
@pytest.mark.parametrize("way", ["", "/", "/*", "/*.parquet", "/b*", "/**"])
def test_a_folder_within_a_table_is_refused(root: str, title: str, held: list[str], way: str):
    fill(f"{root}/t", held)
    inner = next(name for name in held if name.endswith("b.parquet")).rpartition("/")[0]
    assert "/t, which is a" in refusal(f"{root}/t/{inner}{way}")
    assert title in refusal(f"{root}/t/{inner}{way}")


@pytest.mark.parametrize("held", TABLES.values())
def test_a_table_beside_other_shards_is_refused(root: str, held: list[str]):
    fill(root, ["a.parquet", "day/b.parquet"])
    fill(f"{root}/day/x/t", held)
    assert "/day/x/t is a" in refusal(root)
    assert names(f"{root}/*.parquet") == ["a.parquet"]
    assert names(f"{root}/day/*.parquet") == ["b.parquet"]


@pytest.mark.parametrize("held", TABLES.values())
def test_a_file_of_a_table_may_be_named(root: str, held: list[str]):
    fill(f"{root}/t", held)
    inner = next(name for name in held if name.endswith("b.parquet"))
    assert names(f"{root}/t/{inner}") == ["b.parquet"]


def test_a_table_in_a_folder_that_is_passed_over_does_not_matter(root: str):
    fill(root, ["a.parquet"])
    fill(f"{root}/_old", DELTA)
    assert names(root) == ["a.parquet"]


@pytest.mark.parametrize(
    "other",
    ["metadata/notes.json", "metadata/rows.metadata.json", "metadata.json", "delta_log/0.json",
     "metadata/sub/v1.metadata.json"],
)  # fmt: skip
def test_other_folders_are_no_tables(root: str, other: str):
    fill(f"{root}/in", ["a.parquet", "day/b.parquet", other])
    assert names(f"{root}/in") == ["a.parquet", "day/b.parquet"]
    assert names(f"{root}/in/day") == ["b.parquet"]


@pytest.mark.parametrize("held", TABLES.values())
def test_a_link_into_a_table_is_followed_to_its_marker(tmp_path: Path, held: list[str]):
    fill(f"{tmp_path}/store/t", held)
    inner = next(name for name in held if name.endswith("b.parquet")).rpartition("/")[0]
    fill(f"{tmp_path}/in", ["a.parquet"])
    (tmp_path / "in" / "day").symlink_to(tmp_path / "store" / "t" / inner)
    (tmp_path / "today").symlink_to(tmp_path / "store" / "t")
    for entry in ("in", "in/*", "in/day", "in/day/*.parquet", "today", "today/**/*.parquet"):
        told = refusal(f"{tmp_path}/{entry}")
        assert any(f"{title} table" in told for title in TABLES)


def test_links_to_files_of_a_table_are_files_of_a_table(tmp_path: Path):
    write(tmp_path / "t" / "old.parquet", flat(2))
    (tmp_path / "t" / "_delta_log").mkdir()
    write(tmp_path / "in" / "a.parquet", flat(2))
    (tmp_path / "in" / "b.parquet").symlink_to(tmp_path / "t" / "old.parquet")
    for way in ("", "/*", "/**/*.parquet"):
        with pytest.raises(InputError, match=f"{tmp_path}/t is a Delta table"):
            list_shards(config(f"{tmp_path}/in{way}", "elsewhere"))
    assert len(list_shards(config(f"{tmp_path}/in/a*", "elsewhere"))) == 1


@pytest.mark.parametrize("way", ["", "/", "/day=1", "/*/*.parquet", "/day=1/a.parquet*"])
@pytest.mark.parametrize("kind", ["Hudi", "Paimon"])
def test_other_tables_and_their_partitions(tmp_path: Path, kind: str, way: str):
    table = tmp_path / "t"
    write(table / "day=1" / "a.parquet", flat(2))
    if kind == "Hudi":  # as a partition that was copied out of its table
        (table / "day=1" / ".hoodie_partition_metadata").touch()
    else:
        for name in ("manifest/manifest-1", "schema/schema-0", "snapshot/snapshot-1"):
            (table / name).parent.mkdir()
            (table / name).touch()
    with pytest.raises(InputError, match=f"a {kind} table.* Export the rows"):
        list_shards(config(f"{table}{way}", "elsewhere"))


LAKE = "ducklake-01981f6e-0b7a-7c3e-8f01-23456789abcd"


@pytest.mark.parametrize("way", ["", "/t", "/**/*.parquet", "/t/*"])
@pytest.mark.parametrize(
    ("title", "held"),
    [
        ("DuckLake", [f"t/{LAKE}.parquet"]),
        ("DuckLake", [f"t/{LAKE}-delete.parquet", "t/a.parquet"]),
        ("Spark streaming", ["t/_spark_metadata/0", "t/a.parquet"]),
        ("Hive ACID", ["t/base_0000001/a.parquet", "t/delta_0000002_0000002_0000/b.parquet"]),
        ("Hive ACID", ["t/delete_delta_0000003_0000003/a.parquet"]),
    ],
)
def test_tables_that_no_library_here_reads(root: str, title: str, held: list[str], way: str):
    told = refusal(fill(f"{root}/in", held) + way)
    assert f"{title} table" in told
    assert "input.format" not in told


def test_names_like_those_of_tables_are_no_tables(root: str):
    held = ["base_1/a.parquet", "delta/b.parquet", "delta_7/c.parquet", "ducklake-x.parquet"]
    assert names(fill(f"{root}/in", held)) == held


@pytest.mark.parametrize("way", ["", "*.parquet", "**/*.parquet"])
def test_a_table_in_an_archive(tmp_path: Path, way: str):
    write(tmp_path / "t" / "a.parquet", flat(2))
    (tmp_path / "t" / "_delta_log").mkdir()
    (tmp_path / "t" / "_delta_log" / "0.json").write_text("{}")
    shutil.make_archive(str(tmp_path / "t"), "zip", tmp_path / "t")
    with pytest.raises(InputError, match="is a Delta table"):
        list_shards(config(f"zip://{way}::{tmp_path}/t.zip", "elsewhere"))
