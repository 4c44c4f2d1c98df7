"""Configuration files: what is wrong with one is named with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reranker_core.config import load_config
from reranker_core.config.lookup import find
from reranker_core.config.peers import PEERS
from reranker_core.errors import ConfigError

PATHS = ("input.path=in", "output.path=out", "model.path=m")


def refused(folder: Path, text: str | bytes) -> str:
    path = folder / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_config(path, PATHS)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "plan: {}\nmodel: {}\nplan: {}\n",
            "line 3, column 1: the key 'plan' is already set in line 1",
        ),
        ("model:\n  dtype: auto\n  dtype: fp16\n", "line 3, column 3: the key 'dtype'"),
        ("model: {dtype: auto, dtype: fp16}\n", "line 1, column 22: the key 'dtype'"),
        ('"plan": {}\nplan: {}\n', "the key 'plan'"),
        ("model:\n\tpath: x\n", "line 2, column 1: "),
        ("model:\n\tpath: x\n", "indent with spaces"),
        ("model: [unclosed\n", "line 2, column 1: "),
        ("model:\n path: x\n  dtype: y\n", "line 3, column 8: "),
        ("a: &x [*y]\n", "line 1, column 8: found undefined alias 'y'"),
        ("a: !!python/name:os.system\n", "line 1, column 4: "),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: "),
        ("? [a]\n: b\n", "a key must be text"),
        ("a: \x07\n", "character 4 is U+0007"),
        (b"a: \xff\n", "is not UTF-8 text (byte 3)"),
        ("- a\n", "contains a list; expected sections"),
        ("1: 2\n", "1: unknown key"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_the_place(tmp_path: Path, text: str | bytes, said: str):
    message = refused(tmp_path, text)
    assert said in message
    assert "Traceback" not in message


def test_a_file_in_a_windows_editors_utf_8_is_read(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xef\xbb\xbfplan: {part_rows: 5}\r\n")
    assert load_config(path, PATHS).plan.part_rows == 5


def test_merge_keys_may_be_overridden(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text("plan: &base {part_rows: 5}\nguard: {}\nplan: 1\n")
    assert "already set" in refused(tmp_path, path.read_text())
    path.write_text("plan:\n  <<: {part_rows: 5}\n  part_rows: 7\n")
    assert load_config(path, PATHS).plan.part_rows == 7


def test_text_that_yaml_takes_for_something_else_is_told_to_be_quoted(tmp_path: Path):
    for text in (
        "model: {revision: 1234567}",
        "preflight: {golden: 2026-01-31}",
        "output: {columns: {label: yes}}",
        "output: {passthrough: [7]}",
        "model: {template: {segments: ['{query}{passage}'], answers: {Yes: 1}}}",
    ):
        assert "quotes" in refused(tmp_path, text)


def test_an_empty_section_below_a_section_has_its_defaults(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text("input:\n  columns:\n    # query: text\n")
    assert load_config(path, PATHS).input.columns.query == "query"


def test_a_value_that_contains_itself_is_refused(tmp_path: Path):
    assert "output.label_thresholds=" in refused(tmp_path, "output: {label_thresholds: &x [*x]}")


def test_names_of_other_programs_lead_to_keys_that_there_are():
    for key in PEERS:
        assert find(key.partition("=")[0]) is not None, key
    names = " ".join(PEERS.values()).split()
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input.path: x\n", "input.path: is written with dots; in a file, write path below input:"),
        ("input:\n  path: 2026-01-01\n", "date or a truth value (Yes, no) in quotes"),
        ("input:\n  path: 12\n", "date or a truth value (Yes, no) in quotes"),
    ],
)
def test_the_remedy_is_one_for_a_file(tmp_path: Path, text: str, said: str):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, PATHS[1:])
    assert said in str(caught.value)


def test_characters_that_json_writes_in_two_halves(tmp_path: Path):
    text = json.dumps("\U0001f44d #1")
    assert "\\ud83d" in text
    (tmp_path / "run.yaml").write_text(f"input: {{path: {text}}}\n")
    found = load_config(tmp_path / "run.yaml", PATHS[1:]).input.path
    assert found == "\U0001f44d #1"
    assert load_config(None, [*PATHS, f"input.path=[{text}]"]).input.path == [found]
