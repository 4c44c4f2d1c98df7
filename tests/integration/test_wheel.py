"""The wheel: what it installs, and the command that it brings, away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from reranker_core import __version__
from reranker_core.command.main import SUBCOMMANDS

ROOT = Path(__file__).parents[2]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that nothing of an earlier build is in it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("reranker_core", "jobs"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    folder = tmp_path_factory.mktemp("wheel")
    command = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    subprocess.run([*PIP, *command, str(source)], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A virtual environment with the wheel, and with this one's packages but not the checkout."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    install = ("install", "--no-deps", "--no-index", str(wheel))
    subprocess.run([*PIP, "--python", str(folder / "bin/python"), *install], check=True)
    # Lines of a .pth file are not searched for .pth files, such as that of the checkout.
    ours = next(folder.glob("lib/python*/site-packages"))
    (ours / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder


def call(environment: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [environment / "bin" / program, *arguments],
        cwd=environment,
        env=kept,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "reranker_core",
        f"batch_reranker-{__version__}.dist-info",
    }
    assert "reranker_core/py.typed" in names
    code = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "reranker_core").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert code <= set(names)


@pytest.mark.slow
def test_jobs_are_for_checkouts(environment):
    found = call(environment, "python", "-c", "import jobs")
    assert found.returncode == 1
    assert "No module named 'jobs'" in found.stderr
    where = call(environment, "python", "-c", "import reranker_core; print(reranker_core.__file__)")
    assert where.stdout.startswith(str(environment))


@pytest.mark.slow
def test_the_command_works_in_another_folder(environment):
    assert call(environment, "batch-reranker", "--version").stdout.split()[-1] == __version__
    help_text = call(environment, "batch-reranker", "--help").stdout
    assert all(f"\n  {command.name} " in help_text for command in SUBCOMMANDS)
    refused = call(environment, "batch-reranker", "verify", "output.path=nothing")
    assert (refused.returncode, refused.stdout) == (2, "")


@pytest.mark.slow
def test_the_installed_command_checks_a_model(environment):
    model = f"model.path={ROOT / 'demo/model'}"
    found = call(environment, "batch-reranker", "preflight", model, "model.dtype=fp32")
    assert found.returncode == 0, found.stderr
    assert "model.digest=" in found.stdout
    assert "in float32" in found.stdout
