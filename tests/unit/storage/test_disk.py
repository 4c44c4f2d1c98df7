"""Disks that are full or cannot be written."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reranker_core.errors import StoreFull, StoreRefused
from reranker_core.storage.store import Store


def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small disk of its own, where the machine lets us mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no permission to mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "small", "size=256k")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "read_only", "ro")


def test_a_disk_that_fills_up_is_told_in_one_line_and_keeps_what_was_there(small: Path):
    store = Store(str(small / "out"))
    store.check_writable()
    store.write("a.parquet", b"whole")
    with pytest.raises(StoreFull, match=rf"^output\.path={store.url} is full: ") as caught:
        store.create("b.parquet", bytes(1 << 20))
    assert caught.value.exit_code == 5
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(path.name for path in (small / "out").iterdir()) == ["a.parquet"]
    assert store.read("a.parquet") == b"whole"


def test_a_full_disk_is_told_before_the_run(small: Path):
    (small / "other").write_bytes(bytes(224 << 10))
    for name in ("out", "."):
        with pytest.raises(StoreRefused, match=r"cannot be written: no space is left") as caught:
            Store(str(small / name)).check_writable()
        assert caught.value.exit_code == 2
    assert sorted(path.name for path in small.iterdir()) == ["other"]


def test_a_read_only_file_system_is_told(read_only: Path):
    for name in ("out/today", "."):
        with pytest.raises(StoreRefused, match=r"cannot be written: the file system is read-only"):
            Store(str(read_only / name)).check_writable()


def test_a_file_where_a_folder_is_needed_is_no_object_that_is_there(tmp_path: Path):
    (tmp_path / "out").write_bytes(b"x")
    store = Store(str(tmp_path / "out"))
    with pytest.raises(StoreRefused, match="a file is where a folder is needed"):
        store.create("_lease/000001.json", b"{}")


def test_a_look_leaves_nothing_behind(tmp_path: Path):
    Store(str(tmp_path / "new" / "out")).check_writable()
    assert list(tmp_path.iterdir()) == []
    Store(str(tmp_path)).check_writable()
    assert list(tmp_path.iterdir()) == []
