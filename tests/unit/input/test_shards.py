"""Which files `input.path` names, and under which names."""

from __future__ import annotations

import io
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.utils import infer_storage_options

from reranker_core.errors import ConfigError, InputError
from reranker_core.input.plan import make_plan
from reranker_core.input.shards import ShardFile, list_shards
from reranker_core.storage.filesystem import entity_tag, info_of, open_filesystem
from tests.tables import config, flat, write


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def listed(source: Path | str | list[Path], output: Path | str = "elsewhere") -> list[ShardFile]:
    return list(list_shards(config(source, output)))


def passed_over(source: Path | str) -> dict[str, int]:
    return list_shards(config(source, "elsewhere")).passed_over


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
    with pytest.raises(InputError, match=r"contains 1 \.csv file, but no Parquet file"):
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


WAYS = ["", "/", "/*", "/**", "/**/*.parquet", "/*.parquet"]


@pytest.mark.parametrize("way", WAYS)
def test_folders_and_globs_have_one_rule(tmp_path: Path, way: str):
    fill(tmp_path, "part-0.parquet", "_SUCCESS", ".part-0.parquet.crc", "_metadata", ".a.parquet")
    fill(tmp_path, "_temporary/0/task/part-1.parquet", "_spark/x.parquet")
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


@pytest.mark.parametrize(
    "name",
    ["a[1].parquet", "a*b.parquet", "a?.parquet", "a b.parquet", "a#1.parquet", "a%20b.parquet",
     "ä.parquet", "a'b.parquet", "a\\b.parquet", "a{1,2}.parquet", "a:b.parquet", "a::b.parquet",
     "s3:a.parquet"],
)  # fmt: skip
def test_a_real_name_stands_for_itself(tmp_path: Path, name: str):
    folder = tmp_path / f"in {name}"
    fill(folder, name, "ab.parquet", "a1.parquet")
    (shard,) = listed(folder / name)
    assert (shard.name, shard.size) == (name, len(name.encode()))
    assert shard.url == str(folder / name)
    assert name in names(folder)
    assert name in names(f"{folder}/*.parquet")
    filesystem, path = open_filesystem(shard.url)
    assert info_of(filesystem, path)["size"] == shard.size


def test_a_file_url_and_a_home_are_paths_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(tmp_path, "in/a.parquet")
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = listed(tmp_path / "in")
    for entry in (f"file://{tmp_path}/in", f"file://{tmp_path}/in/*", "~/in", "~/in/*.parquet"):
        assert listed(entry) == expected


class Hosted(MemoryFileSystem):
    """As HDFS, FTP and WebHDFS: paths do not hold the host; each host has files of its own."""

    protocol = "hosted"
    cachable = False
    hosts: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init__(self, host: str = "", **given: Any) -> None:
        super().__init__(host=host, **given)
        if not host:
            raise ValueError("no host: which server?")
        self.store = self.hosts.setdefault(host, {})
        self.pseudo_dirs = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        path = infer_storage_options(path)["path"] if "://" in path else path
        return path.rstrip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        return {"host": infer_storage_options(path).get("host")}


@pytest.fixture
def hosts() -> Iterator[None]:
    fsspec.register_implementation("hosted", Hosted, clobber=True)
    for host in "ab":
        buffer = io.BytesIO()
        pq.write_table(flat(2), buffer)
        Hosted(host).pipe_file("/data/day/x.parquet", buffer.getvalue())
    yield
    Hosted.hosts.clear()


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize("way", ["", "/", "/day", "/day/x.parquet", "/*", "/**/*.parquet", "/*/x*"])
def test_a_url_keeps_its_host(way: str):
    (shard,) = listed(f"hosted://a/data{way}")
    assert shard.url == "hosted://a/data/day/x.parquet"
    assert make_plan(config(f"hosted://a/data{way}", "elsewhere")).rows == 2


@pytest.mark.usefixtures("hosts")
def test_a_path_on_two_hosts_is_two_shards():
    found = listed(["hosted://a/data", "hosted://b/data"])  # type: ignore[list-item]
    assert [shard.url for shard in found] == [
        "hosted://a/data/day/x.parquet",
        "hosted://b/data/day/x.parquet",
    ]
    assert listed("hosted://a/data", "hosted://b/data")
    with pytest.raises(ConfigError, match="overlap"):
        listed("hosted://a/data", "hosted://a/data")


def test_a_chain_of_urls_is_kept(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(2))
    shutil.make_archive(str(tmp_path / "pairs"), "zip", tmp_path, "in")
    for entry in ("zip://in", "zip://in/*.parquet", "zip://in/a.parquet", "zip://*/a.parquet"):
        plan = make_plan(config(f"{entry}::{tmp_path}/pairs.zip", "elsewhere"))
        assert plan.rows == 2
        assert plan.shards[0].file.url == f"zip://in/a.parquet::{tmp_path}/pairs.zip"


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


class Contained(Hosted):
    """As Azure's: paths begin with the container, which URLs have before the host."""

    protocol = "contained"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        if "://" not in path:
            return path.rstrip("/")
        authority, _, inner = path.partition("://")[2].partition("/")
        return f"{authority.partition('@')[0]}/{inner}".rstrip("/")


@pytest.mark.parametrize("way", ["", "/", "/x.parquet", "/*", "/**/*.parquet"])
def test_a_url_keeps_its_account(way: str):
    fsspec.register_implementation("contained", Contained, clobber=True)
    Contained("account.example").pipe_file("box/data/x.parquet", b"x")
    (shard,) = listed(f"contained://box@account.example/data{way}")
    assert shard.url == "contained://box@account.example/data/x.parquet"
    assert shard.name == "x.parquet"
    Contained.hosts.clear()
