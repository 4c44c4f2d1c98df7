"""URLs of all kinds: a store that refuses or cannot be opened is told as what it is."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from reranker_core.convert.beir import beir_files
from reranker_core.errors import ConfigError, RerankError, StoreRefused, StoreUnavailable
from reranker_core.input.plan import make_plan
from reranker_core.storage import errors
from reranker_core.storage.buckets import begin_upload, refuse_absent_bucket
from reranker_core.storage.filesystem import info_of, open_filesystem
from reranker_core.storage.store import Store
from reranker_core.storage.tree import is_file, item_at
from tests.tables import config

PACKAGES = {
    "gs://bucket/x": "gcsfs",
    "gcs://bucket/x": "gcsfs",
    "abfs://box@account.dfs.core.windows.net/x": "adlfs",
    "abfss://box@account.dfs.core.windows.net/x": "adlfs",
    "az://box/x": "adlfs",
    "zip://a.parquet::gs://bucket/x.zip": "gcsfs",
    "sftp://host/x": "paramiko",
}


@pytest.mark.parametrize(("url", "package"), PACKAGES.items(), ids=PACKAGES)
def test_the_package_of_a_store_is_named(url: str, package: str):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    for opened in (lambda: make_plan(config(url, "out")), lambda: Store(url)):
        with pytest.raises(ConfigError, match=f"'pip install {package}' on all nodes") as caught:
            opened()
        assert url in str(caught.value)


OTHERS = {
    "r2://bucket/x": "Protocol not known: r2.*s3:// URLs and AWS_ENDPOINT_URL",
    "hdfs://namenode:8020/x": "hdfs:// needs Java",
    "dbfs://x": r"missing 2 required .*FSSPEC_DBFS",
    "tar://x::/none.tar": "No such file.*Correct the URL$",
}


@pytest.mark.parametrize(("url", "told"), OTHERS.items(), ids=OTHERS)
def test_a_store_that_cannot_be_opened_is_refused(url: str, told: str):
    if url.startswith("hdfs") and "HADOOP_HOME" in os.environ:
        pytest.skip("HDFS may be there")
    for opened in (lambda: make_plan(config(url, "out")), lambda: Store(url)):
        with pytest.raises(ConfigError, match=f"cannot be opened .*{told}"):
            opened()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors.patiently, "__defaults__", (0.5,))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("scheme", ["ftp", "webhdfs"])
def test_a_server_that_does_not_answer_is_no_missing_folder(scheme: str):
    url = f"{scheme}://127.0.0.1:9/x"
    with pytest.raises(StoreUnavailable, match=rf"{scheme}://127\.0\.0\.1.*cannot be reached"):
        make_plan(config(url, "out"))
    if scheme != "ftp":
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            Store(url, 0.5).check_writable()


class Refusing(MemoryFileSystem):
    """A store whose every answer is that the credentials do not suffice."""

    protocol = "refusing"

    def info(self, path: str, **given: Any) -> dict[str, Any]:
        error = OSError("not allowed")
        error.code = 403  # type: ignore[attr-defined] # as gcsfs
        raise error

    def ls(self, path: str, detail: bool = True, **given: Any) -> Any:
        return self.info(path)


@pytest.fixture
def refusing() -> str:
    fsspec.register_implementation("refusing", Refusing, clobber=True)
    return "refusing://box/x"


def test_a_store_that_refuses_is_no_missing_file(refusing: str):
    filesystem, path = open_filesystem(refusing)
    asked: list[Any] = [
        lambda: item_at(filesystem, path),
        lambda: is_file(filesystem, path),
        lambda: info_of(filesystem, path),
        lambda: make_plan(config(refusing, "out")),
        lambda: beir_files(refusing, "test"),
        lambda: Store(refusing).check_writable(),
    ]
    for question in asked:
        with pytest.raises(StoreRefused, match="credentials do not allow this"):
            question()


def test_an_output_of_another_store_may_be_new(tmp_path: Path):
    Store("memory://new/folder").check_writable()
    with pytest.raises(RerankError, match="does not exist"):
        make_plan(config("memory://new/folder", str(tmp_path)))


class WithoutBucket(MemoryFileSystem):
    """A store that has no bucket of this name."""

    protocol = "bucketless"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **given: Any) -> None:
        raise FileNotFoundError(path)


def test_a_bucket_that_does_not_exist_cannot_be_written():
    fsspec.register_implementation("bucketless", WithoutBucket, clobber=True)
    store = Store("bucketless://box/x")
    for write in (store.write, store.create):
        with pytest.raises(StoreRefused, match=r"output\.path=bucketless://box/x cannot .*create"):
            write("a", b"")


class OfFiles(MemoryFileSystem):
    """A store whose listing of a file is no mapping, as that of adlfs."""

    protocol = "filed"

    def find(self, path: str, **given: Any) -> Any:
        return [path]


def test_a_file_is_no_output():
    fsspec.register_implementation("filed", OfFiles, clobber=True)
    Store("filed://box").write("a", b"content")
    with pytest.raises(StoreRefused, match="it is a file"):
        Store("filed://box/a").check_writable()
    assert list(Store("filed://box/a").list()) == []


class Bucketless(MemoryFileSystem):
    """Google's store without any bucket."""

    protocol = ("gs", "gcs")
    _location = "http://store.test"

    def call(self, method: str, path: str, *more: str, **given: Any) -> Any:
        raise FileNotFoundError(path)


def test_a_missing_bucket_of_google_is_named():
    filesystem = Bucketless()
    with pytest.raises(StoreRefused, match=r"input\.path=x: there is no such bucket"):
        refuse_absent_bucket(filesystem, "box/x", "input.path=x")
    with pytest.raises(StoreRefused, match=r"output\.path=x: there is no such bucket"):
        begin_upload(filesystem, "box/x", "output.path=x", 0)
