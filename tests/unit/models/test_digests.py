"""Digests of files, and that large ones are read once on a machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from reranker_core.config import ModelConfig
from reranker_core.models import digests
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.digests import digest_of, short_digest
from reranker_core.output.identity import as_earlier
from reranker_core.preflight.files import check_digest

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


def said(bert: Path, folder: Path, **files: object) -> dict[str, str]:
    """Digests of a copy with more files of sentence-transformers."""
    shutil.copytree(bert, folder)
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return open_checkpoint(ModelConfig(path=str(folder))).digests


def prompts(text: str) -> dict[str, object]:
    named = {"prompts": {"query": text}, "default_prompt_name": "query"}
    return {"config_sentence_transformers.json": named}


def test_files_that_decide_the_prompt_count_where_they_are_used(bert: Path, tmp_path: Path):
    scores = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
    scores.append({"type": "sentence_transformers.LogitScore", "path": "1_LogitScore"})
    answers = {"modules.json": scores, "1_LogitScore__config.json": {"true_token_id": 3}}
    kinds: list[dict[str, object]] = [
        prompts("find it: "),
        prompts("find the answer: "),
        answers,
        {**answers, "1_LogitScore__config.json": {"true_token_id": 4}},
        {**answers, "chat_template.jinja": "{{ messages }}"},
        {**answers, **prompts("find it: ")},
        {"reranker.json": {"layout": "{query} {passage}"}},
        {"reranker.json": {"layout": "{query}: {passage}"}},
    ]
    found = [said(bert, tmp_path / f"{i}", **files) for i, files in enumerate(kinds)]
    assert len({each["prompt"] for each in found}) == len(kinds)
    plain = said(bert, tmp_path / "plain")
    # No prompt is used by default, and no answers are read.
    unused = {"config_sentence_transformers.json": {"prompts": {"query": "x"}}}
    unused["chat_template.jinja"] = "{{ messages }}"
    for other in ({}, unused):
        assert said(bert, tmp_path / f"unused{len(other)}", **other) == plain
    assert "prompt" not in plain
    assert all(each | {"prompt": ""} == plain | {"prompt": ""} for each in found)


def test_outputs_and_digests_of_earlier_versions_stay_valid(bert: Path, tmp_path: Path):
    found = said(bert, tmp_path / "m", **prompts("find it: "))
    old = {kind: value for kind, value in found.items() if kind != "prompt"}
    assert as_earlier({"model": found}, {"model": old}) == {"model": old}
    assert as_earlier({"model": found}, {"model": found}) == {"model": found}
    other = found | {"prompt": "another"}
    assert as_earlier({"model": found}, {"model": other}) == {"model": found}
    checkpoint = open_checkpoint(ModelConfig(path=str(tmp_path / "m")))
    for digests_, passes in ((found, True), (old, True), (other, False)):
        assert check_digest(checkpoint, short_digest(digests_), "model.digest").passed == passes


def test_code_of_the_tokenizer_counts_where_only_the_tokenizer_names_it(bert: Path, tmp_path: Path):
    settings = json.loads((bert / "tokenizer_config.json").read_text())
    named = settings | {"auto_map": {"AutoTokenizer": [None, "tok.Own"]}}
    found = [
        said(bert, tmp_path / f"{i}", **{"tokenizer_config.json": named, "tok.py": code})
        for i, code in enumerate(("one = 1", "one = 2"))
    ]
    assert found[0]["code"] != found[1]["code"]
    assert "code" not in said(bert, tmp_path / "unnamed", **{"tok.py": "one = 1"})
    old = {kind: value for kind, value in found[0].items() if kind != "code"}
    assert as_earlier({"model": found[0]}, {"model": old}) == {"model": old}
