"""In Ray's copy of a working directory, paths must not lie in the copy."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from ray._private.runtime_env.working_dir import WorkingDirPlugin

from reranker_core.command.convert import convert
from reranker_core.command.evaluate import evaluate
from reranker_core.config import load_config
from reranker_core.config.working_copy import ray_copy, refuse_paths_in_copy
from reranker_core.errors import ConfigError


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Ray itself would put the copy, with a model's folder in it."""
    plugin = WorkingDirPlugin(str(tmp_path / "session" / "runtime_resources"), None)
    folder = Path(plugin._resources_dir) / "_ray_pkg_0123456789abcdef"
    (folder / "demo" / "model").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def refused(*overrides: str, unused: tuple[str, ...] = ()) -> list[str]:
    """The keys that are refused."""
    given = {"input.path": "/in", "output.path": "/out", "model.path": "org/name"}
    given |= dict(override.split("=", 1) for override in overrides)  # type: ignore[misc]
    config = load_config(None, [f"{key}={value}" for key, value in given.items()])
    try:
        refuse_paths_in_copy(config, unused)
    except ConfigError as error:
        lines = str(error).splitlines()
        return [line.strip() for line in lines[1:-1]]
    return []


@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize(
    "override",
    [
        "output.path=out",
        "output.path=./out/x",
        "output.path=../x/../_ray_pkg_0123456789abcdef/out",
        "input.path=in/*.parquet",
        "input.path=a::b.parquet",
        "input.path=zip://*.parquet::pairs.zip",
        "model.path=demo/model",
        "model.path=./absent",
        "preflight.golden=golden.json",
        "preflight.canaries=canaries.jsonl",
    ],
)
def test_a_relative_path_is_refused_by_its_key(override: str):
    assert refused(override) == [override]


def test_an_absolute_path_in_the_copy_is_refused(copy: Path):
    # As `output.path=$PWD/out` in the entry point.
    assert refused(f"output.path={copy}/out") == [f"output.path={copy}/out"]
    for url in (f"file://{copy}/out", f"file://localhost{copy}/out"):
        assert refused(f"output.path={url}") == [f"output.path={url}"]
    assert not refused("output.path=file://localhost/elsewhere")


def test_all_are_named_at_once_with_the_copy_and_what_to_write(copy: Path):
    config = load_config(None, ["input.path=[a, s3://b/c, d]", "output.path=o", "model.path=x/y"])
    with pytest.raises(ConfigError) as caught:
        refuse_paths_in_copy(config)
    told = str(caught.value)
    assert str(copy) in told
    assert all(f"  {line}" in told for line in ("input.path=a", "input.path=d", "output.path=o"))
    assert "s3://b/c" not in told
    assert "Write absolute paths on a disk that all nodes share, or URLs" in told


@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize(
    "override",
    ["input.path=zip://in::/data/a.zip", "input.path=zip://in::s3://b/a.zip",
     "output.path=/data/out", "output.path=s3://b/out", "output.path=~/out", "model.path=org/name",
     "output.path=../../../x", "input.path=memory://x"],
)  # fmt: skip
def test_other_paths_are_fine(override: str):
    assert refused(override) == []


@pytest.mark.usefixtures("copy")
def test_keys_that_are_not_used_do_not_matter():
    assert refused("input.path=unused", unused=("input.path",)) == []


@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize(
    ("command", "typed"),
    [
        (convert, ["rows.jsonl", "--to", "/out"]),
        (convert, ["/rows.jsonl", "--to", "out"]),
        (convert, ["--beir", "/b", "--run", "run.txt", "--to", "s3://b/out"]),
        (evaluate, ["out", "--label", "x"]),
        (evaluate, ["/out", "--qrels", "qrels.tsv"]),
        (evaluate, ["/out", "--label", "x", "--json", "report.json"]),
    ],
)
def test_arguments_of_other_commands_are_refused_too(command: click.Command, typed: list[str]):
    with pytest.raises(ConfigError, match="Ray's temporary copy") as caught:
        command.main(typed, standalone_mode=False)
    (line,) = str(caught.value).splitlines()[1:-1]
    assert line.strip() in " ".join(typed)


def test_elsewhere_relative_paths_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "working_dir_files" / "x"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert ray_copy(folder) is None
    assert refused("output.path=out", "input.path=in") == []
