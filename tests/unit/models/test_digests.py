"""Digests of files, and that large ones are read once on a machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from reranker_core.models import digests
from reranker_core.models.digests import digest_of

CONTENT = b"weights" * 100


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large; what is known of it lies in a folder of its own."""
    monkeypatch.setattr(digests, "_LARGE", len(CONTENT))
    monkeypatch.setattr(digests.tempfile, "gettempdir", lambda: str(tmp_path))
    path = tmp_path / "model.safetensors"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[list[Path]]:
    """Which files were read."""
    found: list[list[Path]] = []
    read = digests._read

    def counted(paths: list[Path]) -> str:
        found.append(paths)
        return read(paths)

    monkeypatch.setattr(digests, "_read", counted)
    return found


def expected(content: bytes) -> str:
    return hashlib.sha256(b"model.safetensors\0" + content).hexdigest()


def test_a_large_file_is_read_once(file: Path, reads: list[list[Path]]):
    assert [digest_of([file]) for _ in range(3)] == [expected(CONTENT)] * 3
    assert len(reads) == 1


def test_a_change_that_leaves_size_and_time_as_they_are_is_seen(
    file: Path, reads: list[list[Path]]
):
    digest_of([file])
    state = file.stat()
    changed = b"WEIGHTS" * 100
    file.write_bytes(changed)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert digest_of([file]) == expected(changed)
    assert len(reads) == 2


def test_what_a_process_that_was_killed_left_is_not_believed(file: Path, tmp_path: Path):
    digest_of([file])
    (known,) = tmp_path.glob("batch-reranker-digests-*/*")
    known.write_text("4f2a")
    assert digest_of([file]) == expected(CONTENT)
    assert len(known.read_text()) == 64


@pytest.mark.parametrize("mode", [0o777, 0o750])
def test_what_others_could_have_written_is_not_believed(file: Path, tmp_path: Path, mode: int):
    digest_of([file])
    (known,) = tmp_path.glob("batch-reranker-digests-*/*")
    known.write_text("0" * 64)
    known.parent.chmod(mode)
    assert digest_of([file]) == expected(CONTENT)


def test_small_and_absent_files_are_read_each_time(
    tmp_path: Path, reads: list[list[Path]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(digests.tempfile, "gettempdir", lambda: str(tmp_path / "nothing"))
    (tmp_path / "config.json").write_text("{}")
    files = [tmp_path / "config.json", tmp_path / "absent"]
    assert digest_of(files) == digest_of(files)
    assert digest_of(files) != digest_of(files[:1])
    assert len(reads) == 4
