"""A model's folder in a store, copied to this machine once, whole, and again when it changes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError, Incomplete, StoreUnavailable
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.storage import local_copy as module
from reranker_core.storage.local_copy import local_copy
from reranker_core.storage.store import Store

KINDS = ["*.json", "*.safetensors"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_CHUNK", 5000)
    return tmp_path / "cache"


@pytest.fixture
def url(moto_bucket: str, bert: Path, tmp_path: Path) -> str:
    """A model on S3."""
    place = f"{moto_bucket}/{tmp_path.name}/model"
    filesystem = fsspec.filesystem("s3")
    for path in bert.iterdir():
        filesystem.pipe_file(f"{place}/{path.name}", path.read_bytes())
    filesystem.pipe_file(f"{place}/1_Pooling/config.json", b"{}")
    filesystem.pipe_file(f"{place}/training.log", b"of no use")
    return place


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Name and start of each range that is read."""
    found: list[tuple[str, int]] = []
    read = Store.read_range

    def counted(store: Store, name: str, start: int, end: int) -> bytes:
        found.append((name, start))
        return read(store, name, start, end)

    monkeypatch.setattr(Store, "read_range", counted)
    return found


def open_url(url: str) -> Any:
    return open_checkpoint(ModelConfig(path=url))


def test_a_model_on_s3_is_that_of_the_folder(url: str, bert: Path):
    found, local = open_url(url), open_checkpoint(ModelConfig(path=str(bert)))
    assert found.digests == local.digests
    assert found.config == local.config
    assert found.pinned == {"path": url, "revision": None}
    assert (found.folder / "1_Pooling" / "config.json").read_bytes() == b"{}"
    assert not (found.folder / "training.log").exists()


def test_it_is_copied_once_however_many_ask(url: str, reads: list[tuple[str, int]]):
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: local_copy(url, KINDS), range(4)))
    assert len(folders) == 1
    assert len(reads) == len(set(reads)) > 3
    before = len(reads)
    assert local_copy(url, KINDS) in folders
    assert len(reads) == before


def test_what_was_interrupted_goes_on_where_it_was(
    url: str, reads: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
):
    read = Store.read_range

    def cut_off(store: Store, name: str, start: int, end: int) -> bytes:
        if name == "model.safetensors" and start >= 15_000:
            raise StoreUnavailable("gone")
        return read(store, name, start, end)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "read_range", cut_off)
        with pytest.raises(StoreUnavailable):
            local_copy(url, KINDS)
    reads.clear()
    folder = local_copy(url, KINDS)
    again = {name: [start for n, start in reads if n == name] for name, _ in reads}
    assert "config.json" not in again
    assert min(again["model.safetensors"]) == 15_000
    assert folder.joinpath("model.safetensors").read_bytes() == fsspec.filesystem("s3").cat_file(
        f"{url}/model.safetensors"
    )


def test_another_version_is_another_copy(url: str, bert: Path):
    first = local_copy(url, KINDS)
    changed = (bert / "config.json").read_bytes().replace(b'"gelu"', b'"relu"')
    fsspec.filesystem("s3").pipe_file(f"{url}/config.json", changed)
    second = local_copy(url, KINDS)
    assert second != first
    assert (second / "config.json").read_bytes() == changed != (first / "config.json").read_bytes()


def test_files_that_change_while_they_are_copied_are_not_used(
    url: str, bert: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
):
    copy = module._copy
    changed = (bert / "config.json").read_bytes().replace(b'"gelu"', b'"relu"')

    def and_change(store: Store, file: Any, folder: Path) -> None:
        copy(store, file, folder)
        fsspec.filesystem("s3").pipe_file(f"{url}/config.json", changed)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_copy", and_change)
        with pytest.raises(Incomplete, match="was changed while"):
            local_copy(url, KINDS)
    assert not list(cache.rglob("*.json"))
    assert (local_copy(url, KINDS) / "config.json").read_bytes() == changed


def test_a_file_url_is_the_folder_itself(bert: Path):
    assert local_copy(f"file://{bert}", KINDS) == bert


def no_room(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "batch-reranker").write_text("a file, where a folder has to be")


def test_what_cannot_be_copied_is_told(url: str, moto_bucket: str, cache: Path):
    cases: list[tuple[str, Callable[[], Any], str]] = [
        (f"{moto_bucket}/nothing/here", lambda: None, "contains no files of the kinds"),
        ("s3://no-such-bucket-here/x", lambda: None, "no-such-bucket-here"),
        ("nofs://x/y", lambda: None, "this kind of store cannot be opened"),
        (url, lambda: no_room(cache), "Set XDG_CACHE_HOME"),
    ]
    for place, before, told in cases:
        before()
        with pytest.raises(ConfigError, match=told):
            open_url(place)
