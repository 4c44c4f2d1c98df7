"""Stores: all-or-nothing writes, listings, and reads."""

from __future__ import annotations

import resource
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reranker_core.storage import Store, entity_tag


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out") if request.param == "disk" else f"memory://{uuid.uuid4()}")


@contextmanager
def files_no_larger_than(limit: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_written_is_read(store: Store):
    store.write("_receipts/a.json", b"{}")
    assert store.read("_receipts/a.json") == b"{}"


def test_a_second_write_replaces_the_first(store: Store):
    store.write("a", b"long content")
    store.write("a", b"short")
    assert store.read("a") == b"short"


def test_an_absent_object_is_not_found(store: Store):
    store.write("a", b"")
    with pytest.raises(FileNotFoundError):
        store.read("b")


def test_exists(store: Store):
    store.write("sub/a", b"")
    assert store.exists("sub/a")
    assert not store.exists("sub/b")


def test_many_are_read_in_the_order_asked_for(store: Store):
    names = [f"n{i}" for i in range(50)]
    for name in names:
        store.write(name, name.encode())
    asked = names[::-1]
    assert store.read_many(asked) == [name.encode() for name in asked]


def test_reading_many_fails_when_one_is_absent(store: Store):
    store.write("a", b"")
    with pytest.raises(FileNotFoundError):
        store.read_many(["a", "b"])


def test_sizes_are_by_relative_name(store: Store):
    store.write("x.parquet", b"12345")
    store.write("_receipts/x.json", b"12")
    assert store.sizes() == {"x.parquet": 5, "_receipts/x.json": 2}


def test_sizes_of_a_folder_keep_the_names_of_the_whole_store(store: Store):
    store.write("x.parquet", b"12345")
    store.write("_receipts/x.json", b"12")
    assert store.sizes("_receipts") == {"_receipts/x.json": 2}


def test_an_absent_folder_holds_nothing(store: Store):
    assert store.sizes() == {}
    assert store.sizes("_receipts") == {}


def test_sizes_are_fresh(tmp_path: Path):
    store = Store(str(tmp_path))
    assert store.sizes() == {}
    (tmp_path / "late").write_bytes(b"123")
    assert store.sizes() == {"late": 3}


def test_a_trailing_slash_changes_nothing(tmp_path: Path):
    Store(f"{tmp_path}/").write("a", b"1")
    assert Store(str(tmp_path)).sizes() == {"a": 1}


def test_a_relative_path_is_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    store = Store("out")
    store.write("a/b", b"1")
    assert (tmp_path / "out" / "a" / "b").read_bytes() == b"1"
    assert store.sizes() == {"a/b": 1}


def test_a_reader_never_sees_half_an_object(tmp_path: Path):
    store = Store(str(tmp_path))
    versions = {bytes([letter]) * 3_000_000 for letter in b"abc"}
    store.write("object", next(iter(versions)))
    seen: list[bool] = []
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            seen.append((tmp_path / "object").read_bytes() in versions)

    reader = threading.Thread(target=poll)
    reader.start()
    for _ in range(5):
        for version in versions:
            store.write("object", version)
    done.set()
    reader.join()
    assert len(seen) > 5
    assert all(seen)


def test_a_write_that_fails_leaves_the_old_object_alone(tmp_path: Path):
    store = Store(str(tmp_path))
    store.write("object", b"old")
    with files_no_larger_than(100_000), pytest.raises(OSError, match="File too large"):
        store.write("object", b"n" * 1_000_000)
    assert store.read("object") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["object"]


def test_an_object_is_not_listed_while_it_is_written(tmp_path: Path):
    store = Store(str(tmp_path))
    listed: set[str] = set()
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            listed.update(store.sizes())

    reader = threading.Thread(target=poll)
    reader.start()
    for _ in range(10):
        store.write("object", b"x" * 2_000_000)
    done.set()
    reader.join()
    assert listed == {"object"}


def test_what_a_killed_writer_left_is_not_listed(tmp_path: Path):
    store = Store(str(tmp_path))
    store.write("a.parquet", b"1")
    (tmp_path / ".a.parquet.0123abcd.tmp").write_bytes(b"half")
    assert store.sizes() == {"a.parquet": 1}


def test_the_tag_changes_when_a_file_is_rewritten_in_the_same_length(tmp_path: Path):
    store = Store(str(tmp_path))
    store.write("a", b"one")
    before = entity_tag(store.filesystem.info(store.path("a")))
    assert entity_tag(store.filesystem.info(store.path("a"))) == before
    store.write("a", b"two")
    assert entity_tag(store.filesystem.info(store.path("a"))) != before


def test_the_tag_of_an_object_store_is_its_etag():
    assert entity_tag({"ETag": '"abc"', "size": 3, "LastModified": "now"}) == "abc"
