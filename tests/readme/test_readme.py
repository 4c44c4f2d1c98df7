"""Every command of the README, run as it stands there.

Apart from the other tests because `ray stop`, which is one of them, ends every Ray of the machine.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands():
    """The lines of all bash blocks, continued ones joined, without their comments."""
    text = "\n".join(blocks("bash")).replace("\\\n", " ")
    lines = [re.sub(r"\s+#.*", "", line).strip() for line in text.splitlines()]
    # This test is part of `make test`.
    return [line for line in lines if line and line != "make test"]


@pytest.mark.timeout(900)
def test_all_commands_succeed_in_order():
    # The head of other tests would have ports that `ray start --head` wants.
    subprocess.run([BIN / "ray", "stop"], check=True, capture_output=True)
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "RAY_ADDRESS": ""}
    environment["ARGS"] = "--queries 10"  # of `make demo`: a thirtieth of its queries
    for output in ("mine", "submitted"):
        shutil.rmtree(ROOT / "out" / output, ignore_errors=True)
    assert any("make demo" in command for command in commands())
    for command in commands():
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    for output in ("out/mine", "out/submitted", "out/demo/scores"):
        assert (ROOT / output / "_SUCCESS").exists()


def test_the_notebook_example_gives_a_score():
    (example,) = blocks("python")
    lines = example.rstrip().rsplit("\n", 1)
    script = f"{lines[0]}\nscores = {lines[1]}\nassert scores.shape == (1,), scores"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_the_design_names_every_module_beside_its_folder():
    core = ROOT / "reranker_core"
    design = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in design.splitlines() if line[:3] == "| `"}
    assert sum(path.suffix == ".py" and path.stem != "__init__" for path in core.iterdir()) <= 5
    for path in core.iterdir():
        names = f"`{path.name}/`" if path.is_dir() else f"`{path.name}`"
        if path.stem.startswith("__"):
            continue
        row = next((row for cell, row in rows.items() if names in cell), "")
        assert row, f"docs/design.md has no row of {path.name}"
        if path.is_dir() and path.name not in ("models", "preflight"):  # a file a family, a group
            for file in path.glob("*.py"):
                assert file.stem == "__init__" or f"`{file.name}`" in row, file
