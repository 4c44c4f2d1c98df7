"""Paths and URLs are taken as they are: names, schemes, hosts, chains."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import fsspec
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.utils import infer_storage_options

from reranker_core.errors import ConfigError, InputError, StoreUnavailable
from reranker_core.input.address import address
from reranker_core.input.plan import make_plan
from reranker_core.storage.filesystem import info_of, open_filesystem
from reranker_core.storage.store import Store
from tests.listings import fill, listed, names
from tests.servers import BUCKET
from tests.tables import config, flat, write


def test_a_relative_path_finds_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fill(tmp_path / "in", "a.parquet")
    monkeypatch.chdir(tmp_path)
    assert listed("in") == listed(tmp_path / "in")


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


@pytest.mark.parametrize("name", ["a::b", "x::y.parquet", "s3::a", "file::b c", "zip::in.zip"])
def test_a_relative_name_stands_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / name, "a.parquet")
    for entry in (name, f"./{name}/*", f"{name}/a.parquet"):
        assert [shard.url for shard in listed(entry)] == [str(tmp_path / name / "a.parquet")]
    store = Store(f"out/{name}")
    store.write("x", b"")
    assert store.url == str(tmp_path / "out" / name)
    assert (tmp_path / "out" / name / "x").exists()


def test_a_chain_with_a_relative_end_works_in_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path / "in" / "a.parquet", flat(2))
    shutil.make_archive(str(tmp_path / "pairs"), "zip", tmp_path, "in")
    monkeypatch.chdir(tmp_path)
    (shard,) = listed("zip://in/*.parquet::pairs.zip")
    assert shard.url == f"zip://in/a.parquet::{tmp_path}/pairs.zip"


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


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("S3://bucket/x", "did you mean s3://bucket/x?"),
        ("s3n://bucket/x", "did you mean s3://bucket/x?"),
        ("s3:/bucket/x", "did you mean s3://bucket/x?"),
        ("GS:/bucket/x", "did you mean gs://bucket/x?"),
        ("s3://", "the bucket is missing"),
        ("s3:///x", "the bucket is missing"),
        ("gs://", "the bucket is missing"),
        ("abfs:///x", "the container is missing"),
    ],
)
def test_a_url_that_is_written_wrong_is_neither_input_nor_output(url: str, told: str):
    for open_it in (open_filesystem, Store):
        with pytest.raises(ConfigError) as caught:
            open_it(url)
        assert str(caught.value).startswith(url)
        assert told in str(caught.value)


def test_a_folder_with_the_name_of_a_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "s3:" / "x.parquet", flat(4))
    assert make_plan(config("s3:/x.parquet", "elsewhere")).rows == 4


def test_objects_with_an_empty_step_in_their_names(moto_bucket: str, tmp_path: Path):
    filesystem, folder = open_filesystem(f"{moto_bucket}/{tmp_path.name}")
    content = write(tmp_path / "x.parquet", flat(4)).read_bytes()
    for name in ("/", "/a.parquet", "//b.parquet", "/sub/", "/sub//c.parquet"):
        filesystem.call_s3(
            "put_object", Bucket=BUCKET, Key=folder.partition("/")[2] + name,
            Body=b"" if name.endswith("/") else content,
        )  # fmt: skip
    url = f"{moto_bucket}/{tmp_path.name}"
    for entry in (url, f"{url}/", f"{moto_bucket}/{tmp_path.name[:-1]}*"):
        assert make_plan(config(entry, "elsewhere")).rows == 12
    assert make_plan(config(f"{url}/sub", "elsewhere")).rows == 4
    for entry in (f"{url}/*", f"{url}/**/*.parquet", f"{url}/sub/*"):
        with pytest.raises(ConfigError, match=r"names begin with .*//"):
            make_plan(config(entry, "elsewhere"))


@pytest.mark.parametrize("ending", ["", "/", "/data/", "/*.parquet", "/day=*/a.parquet"])
def test_folders_and_patterns_of_a_web_server_are_refused_at_once(ending: str):
    with pytest.raises(ConfigError, match="Give the URL of each file"):
        address(f"https://192.0.2.1{ending}")


def test_a_web_server_that_cannot_be_reached_is_not_waited_for():
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1 cannot be reached .*copy the file"):
        address("http://127.0.0.1:9/a.parquet")


def test_a_file_of_a_web_server_is_read_and_its_folder_is_not(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(6))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}"
        assert make_plan(config(f"{here}/in/a.parquet", "out")).rows == 6
        with pytest.raises(ConfigError, match="folders of a web server"):
            make_plan(config(f"{here}/in", "out"))
        server.shutdown()


def test_an_output_on_a_web_server_is_refused_at_once():
    with pytest.raises(ConfigError, match="cannot be listed or written"):
        Store("https://192.0.2.1/out")


def test_a_file_url_of_this_host_is_a_path(tmp_path: Path):
    assert open_filesystem(f"file://localhost{tmp_path}/a b")[1] == f"{tmp_path}/a b"
    for url in ("file://server/x", "file://x.parquet"):
        with pytest.raises(ConfigError, match=r"Write file:///"):
            open_filesystem(url)


def test_one_object_by_two_schemes_is_refused(moto_bucket: str, tmp_path: Path):
    base = f"{moto_bucket}/{tmp_path.name}"
    content = write(tmp_path / "a.parquet", flat(4)).read_bytes()
    Store(f"{base}/in").write("a.parquet", content)
    other = base.replace("s3://", "s3a://")
    with pytest.raises(InputError, match=r"twice, as s3://.*a\.parquet and as s3a://"):
        make_plan(config([f"{base}/in", f"{other}/in/a.parquet"], "elsewhere"))
