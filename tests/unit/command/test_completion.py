"""What shells offer: asked through bash's own completion function."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from reranker_core.command.completion import complete_override
from reranker_core.command.convert import convert
from reranker_core.command.evaluate import evaluate
from reranker_core.command.help import EVERYTHING
from reranker_core.command.main import SUBCOMMANDS
from reranker_core.command.plan import plan
from reranker_core.command.run import run
from reranker_core.command.verify import verify
from reranker_core.config import known_keys


def offered(incomplete, heeds=EVERYTHING):
    return [item.value for item in complete_override(incomplete, heeds)]


def test_every_key_is_offered():
    assert offered("") == [f"{key}=" for key in known_keys()]


def test_only_keys_that_the_subcommand_reads_are_offered():
    assert offered("output.", ("output.path", "verify")) == ["output.path="]
    assert offered("model.dtype=", ("output.path",)) == []


@pytest.mark.parametrize(
    ("incomplete", "values"),
    [
        ("input.layout=", ["input.layout=auto", "input.layout=flat", "input.layout=nested"]),
        ("model.dtype=bf", ["model.dtype=bfloat16", "model.dtype=bf16"]),
        ("output.rank=t", ["output.rank=true"]),
        ("score.compile=", ["score.compile=auto", "score.compile=true", "score.compile=false"]),
        ("preflight.checks.meaning=o", ["preflight.checks.meaning=off"]),
        ("output.passthrough=", ["output.passthrough=all"]),
        ("plan.part_rows=", ["plan.part_rows=auto"]),
        ("plan.part_bytes=", []),
        ("zzz=", []),
    ],
)
def test_values_of_a_key_are_offered(incomplete, values):
    assert offered(incomplete) == values


def test_paths_are_left_to_the_shell():
    assert [item.type for item in complete_override("input.path=/tm", EVERYTHING)] == ["file"]


@pytest.mark.parametrize(
    ("subcommand", "parameter", "typed", "types"),
    [
        (verify, "overrides", "out/", ["file"]),
        (verify, "overrides", "output.pa", ["plain"]),
        (run, "overrides", "out/", []),
        (evaluate, "output", "out/", ["file"]),
        (evaluate, "qrels", "q", ["file"]),
        (convert, "rows", "a", ["file"]),
        (plan, "like", "out/", ["file"]),
    ],
)
def test_arguments_and_options_that_are_paths_are_too(subcommand, parameter, typed, types):
    context = click.Context(subcommand)
    (found,) = [each for each in subcommand.params if each.name == parameter]
    assert [item.type for item in found.shell_complete(context, typed)] == types


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_keys_and_values(tmp_path: Path):
    """With the words as bash cuts them: at = and :."""
    command = tmp_path / "batch-reranker"
    command.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'from reranker_core.command.main import main; "
        'main()\' "$@"\n'
    )
    command.chmod(0o755)
    asked = [
        ("", " ".join(str(command.name) for command in SUBCOMMANDS)),
        ("verify output.p", "output.path="),
        ("run --config x.yaml input.layout = n", "nested"),
        ("run output.path = s3 : //bucket/x model.dtype = bf", "bfloat16 bf16"),
    ]
    script = [
        "compopt() { :; }",  # which only a completion of a terminal may call
        'eval "$(_BATCH_RERANKER_COMPLETE=bash_source batch-reranker)"',
    ]
    for words, _ in asked:
        typed = words.split(" ")
        script += [
            f"COMP_WORDS=(batch-reranker {words or chr(39) * 2})",
            f"COMP_CWORD={len(typed)}",
            "COMPREPLY=()",
            "_batch_reranker_completion batch-reranker",
            'echo "${COMPREPLY[*]}"',
        ]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    found = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(script)],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines() == [answer for _, answer in asked], found.stderr
