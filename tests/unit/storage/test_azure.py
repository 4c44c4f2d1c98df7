"""Azure Blob Storage, where its emulator is installed: outputs, listings, and wrong URLs."""

from __future__ import annotations

import io
from collections.abc import Iterator

import fsspec
import pyarrow.parquet as pq
import pytest

from reranker_core.errors import ConfigError, InputError, RerankError, StoreRefused
from reranker_core.input.shards import list_shards
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store
from tests.azurite import CONTAINER, azurite
from tests.tables import config
from tests.texts import flat_table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with azurite(tmp_path_factory.mktemp("azurite")) as settings:
        yield settings


@pytest.fixture(scope="module")
def shard() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(flat_table(5, seed=1), buffer)
    return buffer.getvalue()


def test_an_object_is_created_once():
    store = Store(f"abfs://{CONTAINER}/once")
    assert store.create("_lease/1.json", b"first")
    assert not store.create("_lease/1.json", b"second")
    assert store.settle_conditions("_lease/1.json", b"first")
    assert store.read("_lease/1.json") == b"first"
    assert [listed.name for listed in store.list()] == ["_lease/1.json"]
    store.delete("_lease/1.json", "absent")
    assert list(store.list()) == []


def test_the_check_leaves_nothing():
    store = Store(f"abfs://{CONTAINER}/checked")
    store.check_writable()
    assert not store.exists("_writable")
    assert list(store.list()) == []


def test_a_missing_container_is_named():
    with pytest.raises(StoreRefused, match=r"output\.path=abfs://absent/x .*no such bucket"):
        Store("abfs://absent/x").check_writable()
    for entry in ("abfs://absent/in", "abfs://absent/in/*.parquet"):
        with pytest.raises(StoreRefused, match=r"input\.path=abfs://absent/in.*no such bucket"):
            list_shards(config(entry, "out"))


def test_a_blob_is_no_output():
    Store(f"abfs://{CONTAINER}/blob").write("a", b"content")
    store = Store(f"abfs://{CONTAINER}/blob/a")
    with pytest.raises(StoreRefused, match="it is a file"):
        store.check_writable()
    assert list(store.list()) == []


def test_folders_that_are_objects_are_listed_once(shard: bytes, connection: str):
    from azure.storage.blob import BlobServiceClient  # where adlfs is installed

    client = BlobServiceClient.from_connection_string(connection).get_container_client(CONTAINER)
    for folder in ("hierarchy/in", "hierarchy/in/sub", "hierarchy/in/empty"):
        client.upload_blob(folder, b"", metadata={"hdi_isfolder": "true"})
    client.upload_blob("hierarchy/in/sub/a.parquet", shard)
    for pattern in ("", "/*", "/**/*.parquet"):
        entry = f"abfs://{CONTAINER}/hierarchy/in{pattern}"
        assert [each.name for each in list_shards(config(entry, "out"))] == ["sub/a.parquet"]


def test_the_same_blob_by_two_urls_is_refused(shard: bytes):
    fsspec.filesystem("abfs").pipe_file(f"{CONTAINER}/two/in/a.parquet", shard)
    account = f"abfs://{CONTAINER}@devstoreaccount1.dfs.core.windows.net/two"
    for other in (f"az://{CONTAINER}/two/in/*", f"{account}/in"):
        with pytest.raises(InputError, match=r"twice, as abfs://.* and as "):
            list_shards(config([f"abfs://{CONTAINER}/two/in", other], "out"))
    with pytest.raises(ConfigError, match="overlap"):
        list_shards(config(f"az://{CONTAINER}/two/in", f"{account}/in/out"))


def test_an_archive_that_is_absent_needs_another_url():
    with pytest.raises(ConfigError, match=r"No such file.*Correct the URL$"):
        list_shards(config(f"zip://*.parquet::abfs://{CONTAINER}/absent.zip", "out"))


def test_one_of_many_creates_an_object():
    store = Store(f"abfs://{CONTAINER}/race")
    for size in (10, 70 << 20):  # the larger one is sent in blocks
        values = [bytes([index]) * size for index in range(4)]
        made = list(in_parallel(lambda value, name=str(size): store.create(name, value), values))
        assert sum(made) == 1
        assert store.read(str(size)) == values[made.index(True)]


def test_an_account_without_credentials_is_refused():
    with pytest.raises(ConfigError, match=r"account 'other', but .* 'devstoreaccount1'"):
        Store(f"abfs://{CONTAINER}@other.dfs.core.windows.net/x")


def test_a_wrong_key_is_told(connection: str, monkeypatch: pytest.MonkeyPatch):
    wrong = connection.replace("AccountKey=E", "AccountKey=F")
    for settings in (wrong, "nonsense", ""):
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", settings)
        fsspec.get_filesystem_class("abfs").clear_instance_cache()
        with pytest.raises(RerankError, match=r"credentials|AZURE_STORAGE_CONNECTION_STRING"):
            Store(f"abfs://{CONTAINER}/x", patience=1).check_writable()
    fsspec.get_filesystem_class("abfs").clear_instance_cache()
