"""The progress of a run for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reranker_core.errors import StoreUnavailable
from reranker_core.report import progress_file
from reranker_core.report.progress_file import FILE, ProgressFile
from reranker_core.storage.store import Store


def content(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / FILE).read_text())
    return found


def test_it_says_how_far_a_run_is_and_that_it_ended(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(progress_file, "_EVERY", 0.01)
    store = Store(str(tmp_path))
    with ProgressFile(store) as file:
        file.tell(parts_left=3)
        while not (tmp_path / FILE).exists() or "parts_left" not in content(tmp_path):
            pass
        assert content(tmp_path)["state"] == "running"
        file.tell(parts_left=0)
    found = content(tmp_path)
    assert (found["state"], found["parts_left"]) == ("ended", 0)
    assert found["started"] <= found["written"]


def test_a_run_that_fails_has_ended_too(tmp_path: Path):
    with pytest.raises(ValueError, match="x"), ProgressFile(Store(str(tmp_path))):
        raise ValueError("x")
    assert content(tmp_path)["state"] == "ended"


def test_a_store_that_fails_does_not_end_the_run(tmp_path: Path, monkeypatch: Any):
    def fail(*_: object) -> None:
        raise StoreUnavailable("throttled")

    monkeypatch.setattr(Store, "write", fail)
    with ProgressFile(Store(str(tmp_path))) as file:
        file.tell(parts_left=3)
