"""Links are followed, or refused by name; other things that are no files are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reranker_core.errors import ConfigError, InputError
from reranker_core.storage.filesystem import entity_tag, info_of, open_filesystem
from tests.listings import fill, listed, names, passed_over
from tests.tables import flat, write


def test_a_link_is_a_shard_with_size_and_time_of_its_target(tmp_path: Path):
    fill(tmp_path / "store", "b.parquet", "c/d.parquet")
    fill(tmp_path / "in", "a.parquet")
    os.utime(tmp_path / "store" / "b.parquet", (1, 1))
    (tmp_path / "in" / "b.parquet").symlink_to("../store/b.parquet")
    (tmp_path / "in" / "day").symlink_to("../store/c")
    for way in ("", "/*", "/**/*.parquet"):
        assert names(f"{tmp_path}/in{way}") == ["a.parquet", "b.parquet", "day/d.parquet"]
    (direct,) = listed(tmp_path / "store" / "b.parquet")
    (linked,) = listed(tmp_path / "in" / "b.parquet")
    assert (linked.size, linked.etag) == (direct.size, direct.etag)
    assert listed(tmp_path / "in")[1] == linked
    filesystem, path = open_filesystem(linked.url)
    assert entity_tag(info_of(filesystem, path)) == linked.etag  # what reading compares


def test_links_alone_are_shards(tmp_path: Path):
    write(tmp_path / "blobs" / "4f5a", flat(2))
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "a.parquet").symlink_to("../blobs/4f5a")
    (tmp_path / "latest").symlink_to("snapshots")
    assert names(tmp_path / "snapshots") == names(tmp_path / "latest") == ["a.parquet"]


@pytest.mark.parametrize("name", ["b.parquet", "day", "part-00001"])
def test_a_link_to_nothing_is_refused_by_name(tmp_path: Path, name: str):
    fill(tmp_path, "a.parquet")
    (tmp_path / name).symlink_to("nowhere")
    for way in ("", "/*", f"/{name}"):
        with pytest.raises(InputError, match=f"{name}.* is a link to .*nowhere"):
            listed(f"{tmp_path}{way}")
    assert names(tmp_path / "a.parquet") == ["a.parquet"]


def test_a_link_to_itself_is_refused_by_name(tmp_path: Path):
    (tmp_path / "a.parquet").symlink_to("a.parquet")
    for way in ("", "/a.parquet"):
        with pytest.raises(InputError, match=r"a\.parquet is a link|a\.parquet: is a link"):
            listed(f"{tmp_path}{way}")


def test_links_that_are_no_data_do_not_matter(tmp_path: Path):
    fill(tmp_path, "a.parquet")
    (tmp_path / ".#a.parquet").symlink_to("somebody@somewhere")
    (tmp_path / "notes.md").symlink_to("nowhere")
    assert names(tmp_path) == ["a.parquet"]
    assert passed_over(tmp_path) == {"hidden": 1, "not_parquet": 1}


def test_a_file_and_a_link_to_it_are_the_same_rows(tmp_path: Path):
    fill(tmp_path / "in", "a.parquet")
    (tmp_path / "in" / "b.parquet").symlink_to("a.parquet")
    (tmp_path / "other.parquet").symlink_to("in/a.parquet")
    with pytest.raises(InputError, match=r"twice, as .*/a\.parquet and as .*/b\.parquet"):
        listed(tmp_path / "in")
    with pytest.raises(InputError, match=r"twice, as .*/a\.parquet and as .*/other\.parquet"):
        listed([tmp_path / "in" / "a.parquet", tmp_path / "other.parquet"])


def test_two_names_of_one_file_are_the_same_rows(tmp_path: Path):
    fill(tmp_path, "a.parquet", "day/b.parquet")
    os.link(tmp_path / "a.parquet", tmp_path / "day" / "a.parquet")
    with pytest.raises(InputError, match=r"twice, as .*/a\.parquet and as .*/day/a\.parquet"):
        listed(tmp_path)
    assert names(tmp_path / "day") == ["a.parquet", "b.parquet"]


def test_a_linked_folder_beside_its_target_is_the_same_rows(tmp_path: Path):
    fill(tmp_path, "2024-01-02/a.parquet")
    (tmp_path / "latest").symlink_to("2024-01-02")
    with pytest.raises(InputError, match="twice"):
        listed(tmp_path)


def test_a_pipe_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "a.parquet")
    for way in ("", "/a.parquet"):
        with pytest.raises(InputError, match="is a pipe"):
            listed(f"{tmp_path}{way}")


@pytest.mark.parametrize("link", ["in/previous", "in/day/previous"])
def test_a_link_from_the_input_into_the_output_is_seen(tmp_path: Path, link: str):
    fill(tmp_path, "in/a.parquet", "in/day/b.parquet", "out/c.parquet")
    (tmp_path / link).symlink_to(tmp_path / "out")
    with pytest.raises(ConfigError, match="overlap"):
        listed(tmp_path / "in", tmp_path / "out")


def test_an_output_that_is_a_link_into_the_input_is_seen(tmp_path: Path):
    fill(tmp_path, "in/a.parquet")
    (tmp_path / "in" / "results").mkdir()
    (tmp_path / "out").symlink_to("in/results")
    with pytest.raises(ConfigError, match="overlap"):
        listed(tmp_path / "in", tmp_path / "out")
