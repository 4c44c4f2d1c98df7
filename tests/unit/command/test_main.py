"""The command line: which subcommands there are, what help shows, and how a command ends."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from reranker_core import __version__
from reranker_core.command.main import SUBCOMMANDS
from reranker_core.config import known_keys
from reranker_core.errors import ConfigError, OutputConflict

ROOT = Path(__file__).parents[3]
PATHS = ("input.path=in", "output.path=out", "model.path=m")


def keys_in(help_text):
    return {line.split("=")[0].strip() for line in help_text.splitlines() if "=" in line} & {
        *known_keys()
    }


def test_the_version_is_that_of_the_package(typed):
    assert typed("--version")[:2] == (0, f"batch-reranker, version {__version__}\n")


def test_help_lists_the_subcommands_that_there_are_and_the_exit_codes(typed):
    code, text, _ = typed("--help")
    assert code == 0
    listed = text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == [command.name for command in SUBCOMMANDS]
    assert all(f"\n  {number}  " in text for number in range(7))


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        ("run", {key.split(".")[0] for key in known_keys()}),
        ("plan", {key.split(".")[0] for key in known_keys()}),
        ("preflight", {"model", "score", "preflight", "input"}),
        ("verify", {"output", "guard", "verify"}),
        ("export", {"input", "output", "plan", "training", "model"}),
        ("derive", {"input", "output", "guard", "verify", "ray", "reuse"}),
    ],
)
def test_help_lists_the_keys_that_a_subcommand_reads(typed, name, sections):
    code, text, _ = typed(name, "--help")
    assert code == 0
    assert {key.split(".")[0] for key in keys_in(text)} == sections
    assert "Exit codes:" in text
    if name == "run":
        assert keys_in(text) == set(known_keys())


@pytest.mark.parametrize("command", SUBCOMMANDS, ids=lambda command: command.name)
def test_help_of_each_subcommand_ends_with_exit_codes_in_the_words_of_the_readme(typed, command):
    code, text, _ = typed(command.name, "--help")
    assert code == 0
    assert "--log-format [text|json]" in text
    shown = dict(re.findall(r"^  (\d)  (.+)$", text.partition("Exit codes:")[2], re.MULTILINE))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| (\d) \| (.+?) \|", readme.replace("`", ""), re.MULTILINE))
    assert {"0", "1", "2", "5"} <= shown.keys() <= told.keys()
    assert all(words.startswith(told[number]) for number, words in shown.items())


def test_help_gives_the_values_the_default_and_a_sentence_of_each_key(typed):
    lines = typed("run", "--help")[1].splitlines()
    at = lines.index("    input.layout={auto|flat|nested}  (default: auto)")
    assert lines[at + 1].strip().endswith(".")
    assert "    input.path=TEXT|[TEXT, ...]  (required)" in lines
    assert "    model.max_length=INTEGER>=8|null  (default: null)" in lines


def test_help_is_not_wrapped_where_there_is_no_terminal(typed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    sentences = {field.description.replace("`", "") for field in known_keys().values()}
    assert sentences <= {line.strip() for line in typed("run", "--help")[1].splitlines()}


def test_help_is_as_wide_as_the_terminal(typed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
    lines = typed("run", "--help")[1].splitlines()
    assert max(len(line) for line in lines if line.startswith(" " * 8)) <= 60


def test_every_key_has_one_sentence():
    for key, field in known_keys().items():
        text = field.description or ""
        assert text.endswith("."), key
        assert ". " not in text.replace(" e.g. ", ""), key


def test_no_subcommand_prints_help(typed):
    code, text, _ = typed()
    assert code == 2
    assert "Commands:" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ru",), "Did you mean 'run'?"),
        (("run", "--model.path=x"), "Configuration keys have no dashes: model.path=…"),
        (("run", "--batch_size", "8"), "no dashes: score.max_batch_tokens=…"),
        (("run", "--confg", "x"), "Did you mean '--config'?"),
        (("input.path=x",), "batch-reranker run input.path=x"),
        (("run", *PATHS, "output.rank=1"), "output.rank=1: expected true or false"),
        (("run", *PATHS, "--config"), "'--config' requires an argument"),
        (("run", *PATHS, "output.rank"), "has no '='"),
        (("run", "configs/local.yaml"), "write --config configs/local.yaml"),
        (("preflight", "demo/model"), "write model.path=demo/model"),
        (("run", "--config", "input.path=x"), "--config must be followed by a file, not by a key"),
        (("run", *PATHS, "modle={}"), "did you mean 'model'?"),
        (("plan",), "input.path: missing"),
        (("preflight",), "model.path: missing"),
        (("verify",), "name the output folder: batch-reranker verify OUTPUT"),
    ],
)
def test_a_wrong_command_line_ends_with_exit_code_2_and_one_error(typed, words, said):
    code, _, errors = typed(*words)
    assert code == 2
    assert errors.startswith("error: ")
    assert said in errors


def test_an_output_without_its_key_is_taken_for_one(typed, tmp_path):
    (tmp_path / "_run.json").touch()
    code, _, errors = typed("export", str(tmp_path))
    assert (code, f"write --like {tmp_path}" in errors) == (2, True)


def test_a_subcommand_asks_only_for_the_keys_that_it_reads(typed, tmp_path):
    code, _, errors = typed("verify", f"output.path={tmp_path}")
    assert code == ConfigError.exit_code
    assert errors.startswith(f"error: {tmp_path} is empty")
    code, _, errors = typed("preflight", f"model.path={tmp_path}/none")
    assert code == ConfigError.exit_code
    assert "model.path" in errors


def test_verify_takes_one_folder_without_its_key(typed, tmp_path):
    assert typed("verify", str(tmp_path)) == typed("verify", f"output.path={tmp_path}")
    code, _, errors = typed("verify", "one", "two")
    assert (code, "one, two: name one folder" in errors) == (2, True)


def test_options_stand_before_and_after_keys(typed, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("plan: {part_rows: 0}\n")
    for words in (
        ("--dry-run", *PATHS, "--config", str(config), "output.rank=1"),
        (*PATHS, f"--config={config}", "output.rank=1", "--dry-run"),
    ):
        code, _, errors = typed("run", *words)
        assert code == 2
        assert "plan.part_rows=0" in errors
        assert "output.rank=1" in errors


def test_an_error_ends_the_process_with_its_exit_code(typed, monkeypatch):
    def conflict(config):
        raise OutputConflict("somebody else's")

    monkeypatch.setattr("reranker_core.prepare.prepare", conflict)
    for words in (("plan",), ("run",), ("run", "--dry-run")):
        assert typed(*words, *PATHS) == (6, "", "error: somebody else's\n")


@pytest.mark.parametrize(
    ("module", "name"),
    [("rerank", "run"), ("export", "export"), ("training_data", "training-data")],
)
def test_a_module_of_jobs_is_the_subcommand(typed, module, name):
    command = [sys.executable, "-m", f"jobs.{module}", *PATHS, "zzz=1"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    code, _, errors = typed(name, *PATHS, "zzz=1")
    assert (process.returncode, process.stderr) == (code, errors)


def test_each_subcommand_has_its_module_in_jobs():
    names = {path.stem for path in (ROOT / "jobs").glob("[a-z]*.py")}
    assert names == {command.name.replace("-", "_") for command in SUBCOMMANDS} | {
        "rerank",
        "training_data",
    }
