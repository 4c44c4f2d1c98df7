"""Stores: all-or-nothing writes, listings, and reads."""

from __future__ import annotations

import errno
import io
import os
import resource
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from reranker_core.errors import StoreRefused
from reranker_core.storage.filesystem import RangeReader, entity_tag, is_local, open_filesystem
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store
from tests.outputs import sizes


@pytest.fixture(params=["disk", "memory", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "moto":
        return Store(f"{request.getfixturevalue('moto_bucket')}/{tmp_path.name}")
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


def test_only_the_first_creates(store: Store):
    assert store.create("sub/a", b"first")
    assert not store.create("sub/a", b"second")
    assert store.read("sub/a") == b"first"


def test_of_many_who_create_at_once_one_succeeds(store: Store):
    with ThreadPoolExecutor(16) as threads:
        won = list(threads.map(lambda i: store.create("a", str(i).encode()), range(64)))
    if not is_local(store.filesystem):
        pytest.skip("fsspec's memory store and moto look, then write")
    assert won.count(True) == 1
    assert store.read("a") == str(won.index(True)).encode()


def test_a_disk_without_hard_links_keeps_the_first_too(tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    store = Store(str(tmp_path))
    assert store.create("a", b"first")
    assert not store.create("a", b"second")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


def test_what_is_deleted_is_gone_and_what_was_absent_is_no_error(store: Store):
    for name in "abc":
        store.write(name, b"1")
    store.delete("a", "absent", "c")
    store.delete("absent")
    store.delete()
    assert list(sizes(store)) == ["b"]


def test_a_folder_is_a_store_of_its_own_and_can_be_cleared(store: Store):
    below = store.below("folder")
    for name in ("z", "kept/y"):
        below.write(name, b"1")
    store.write("a", b"2")
    assert (below.url, store.read("folder/kept/y")) == (f"{store.url}/folder", b"1")
    below.clear("kept")
    assert {listed.name for listed in store.list()} == {"a", "folder/kept/y"}
    below.clear()
    assert [listed.name for listed in store.list()] == ["a"]
    assert not below.exists("kept/y")


def test_results_come_in_order_and_no_more_is_taken_than_is_worked_on():
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield number

    results = in_parallel(lambda number: 2 * number, items(), threads=4)
    assert [next(results) for _ in range(10)] == list(range(0, 20, 2))
    assert len(taken) <= 20
    assert list(results) == list(range(20, 2000, 2))


def test_an_error_of_one_item_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(in_parallel(lambda number: 1 / number, [2, 1, 0]))


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_range_reader_reads_as_a_file_does(size: int):
    content = bytes(i % 251 for i in range(size))
    filesystem, path = open_filesystem(f"memory://{uuid.uuid4()}/x")
    filesystem.pipe_file(path, content)
    reader, file = RangeReader(filesystem, path), io.BytesIO(content)
    for step in [(10,), (0,), (10_000,), (5,)]:
        assert reader.read(*step) == file.read(*step)
        assert reader.tell() == file.tell()
    for place in [(0, 0), (3, 0), (2, 1), (-size // 2, 2)]:
        assert reader.seek(*place) == file.seek(*place)
        assert reader.read() == file.read()


@pytest.mark.parametrize("way", ["the whole file", "too few bytes, once"])
def test_answers_to_a_range_that_are_not_the_range(way: str, monkeypatch: pytest.MonkeyPatch):
    content = bytes(range(200))
    filesystem, path = open_filesystem(f"memory://{uuid.uuid4()}/x")
    filesystem.pipe_file(path, content)
    asked: list[int] = []

    def other(path: str, start: int, end: int) -> bytes:
        asked.append(start)
        if way == "the whole file":
            return content
        return content[start : end - (len(asked) == 1)]

    reader = RangeReader(filesystem, path)
    monkeypatch.setattr(filesystem, "cat_file", other)
    reader.seek(50)
    assert reader.read(20) == content[50:70]
    assert reader.read(20) == content[70:90]
    assert len(asked) == (2 if way == "the whole file" else 3)


def test_sizes_are_by_relative_name(store: Store):
    store.write("x.parquet", b"12345")
    store.write("_receipts/x.json", b"12")
    assert sizes(store) == {"x.parquet": 5, "_receipts/x.json": 2}


def test_sizes_of_a_folder_keep_the_names_of_the_whole_store(store: Store):
    store.write("x.parquet", b"12345")
    store.write("_receipts/x.json", b"12")
    assert sizes(store, "_receipts") == {"_receipts/x.json": 2}


def test_an_absent_folder_holds_nothing(store: Store):
    assert sizes(store) == {}
    assert sizes(store, "_receipts") == {}


def test_sizes_are_fresh(tmp_path: Path):
    store = Store(str(tmp_path))
    assert sizes(store) == {}
    (tmp_path / "late").write_bytes(b"123")
    assert sizes(store) == {"late": 3}


def test_a_trailing_slash_changes_nothing(tmp_path: Path):
    Store(f"{tmp_path}/").write("a", b"1")
    assert sizes(Store(str(tmp_path))) == {"a": 1}


def test_a_relative_path_is_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    store = Store("out")
    store.write("a/b", b"1")
    assert (tmp_path / "out" / "a" / "b").read_bytes() == b"1"
    assert sizes(store) == {"a/b": 1}


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
    with files_no_larger_than(100_000), pytest.raises(StoreRefused, match="File too large"):
        store.write("object", b"n" * 1_000_000)
    assert store.read("object") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["object"]


def test_an_object_is_not_listed_while_it_is_written(tmp_path: Path):
    store = Store(str(tmp_path))
    listed: set[str] = set()
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            listed.update(sizes(store))

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
    assert sizes(store) == {"a.parquet": 1}


def test_the_tag_changes_when_a_file_is_rewritten_in_the_same_length(tmp_path: Path):
    store = Store(str(tmp_path))
    store.write("a", b"one")
    before = entity_tag(store.filesystem.info(store.path("a")))
    assert entity_tag(store.filesystem.info(store.path("a"))) == before
    store.write("a", b"two")
    assert entity_tag(store.filesystem.info(store.path("a"))) != before


def test_the_tag_of_an_object_store_is_its_etag():
    assert entity_tag({"ETag": '"abc"', "size": 3, "LastModified": "now"}) == "abc"
