"""Outputs in stores whose client only opens files, as for HDFS: fsspec's wrapper of Arrow's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pyarrow.fs
import pytest
from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.implementations.memory import MemoryFileSystem

from reranker_core.output.lease import Lease
from reranker_core.storage.renaming import needs_renaming
from reranker_core.storage.store import Store
from tests.outputs import Output
from tests.tables import flat, write


class Replacing(ArrowFSWrapper):
    """As SFTP: renaming replaces."""

    def __init__(self, **options: Any) -> None:
        super().__init__(pyarrow.fs.LocalFileSystem(), **options)


class Refusing(Replacing):
    """As HDFS: renaming does not replace."""

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        if self.exists(path2):
            raise FileExistsError(path2)
        super().mv(path1, path2)


class Silent(Replacing):
    """As WebHDFS: the refusal is no error."""

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        if not self.exists(path2):
            super().mv(path1, path2)


@pytest.fixture(params=[Replacing, Refusing, Silent])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    fsspec.register_implementation("renaming", request.param, clobber=True)
    request.param.clear_instance_cache()
    return f"renaming://{tmp_path}/out"


def test_objects_are_created_and_replaced_as_a_whole(url: str, tmp_path: Path):
    store = Store(url)
    assert store.create("_a/b/x.json", b"1")
    assert not store.create("_a/b/x.json", b"2")
    assert store.read("_a/b/x.json") == b"1"
    store.write("_a/b/x.json", b"33")
    assert store.read("_a/b/x.json") == b"33"
    assert [(each.name, each.size) for each in store.list()] == [("_a/b/x.json", 2)]
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["x.json"]


def test_a_write_that_breaks_off_leaves_the_old_object(url: str, monkeypatch: pytest.MonkeyPatch):
    store = Store(url, patience=0)
    store.write("x.json", b"old")

    def half(path: str, data: bytes, **options: Any) -> None:
        with store.filesystem.open(path, "wb") as file:
            file.write(data[:1])
        raise ConnectionError("broken off")

    monkeypatch.setattr(store.filesystem, "pipe_file", half)
    with pytest.raises(Exception, match="broken off"):
        store.write("x.json", b"new")
    assert store.read("x.json") == b"old"
    assert [each.name for each in store.list()] == ["x.json"]


def test_the_lease_warns_that_writes_are_not_conditional(url: str, caplog: Any):
    with Lease.acquire(Store(url)):
        assert "does not support conditional writes" in caplog.text


def test_a_whole_output_is_written_and_proven(url: str, tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(10))
    output = Output(tmp_path / "in", url)
    assert output.drive().parts == 3
    assert Output(tmp_path / "in", url).drive().rows == 10


def test_which_stores_need_it(url: str):
    assert needs_renaming(Store(url).filesystem)
    assert not needs_renaming(MemoryFileSystem())
    assert not needs_renaming(fsspec.filesystem("s3"))
