"""The README's commands, run once; a Ray that one of them starts."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
START, STOP = "ray start --head", "ray stop"
OUTPUTS = ("mine", "submitted")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    """The lines of all bash blocks, continued ones joined, without their comments."""
    text = "\n".join(blocks("bash")).replace("\\\n", " ")
    lines = [re.sub(r"\s+#.*", "", line).strip() for line in text.splitlines()]
    # CI runs `make test` before this test, which is part of `make test-slow`.
    return [line for line in lines if line and line != "make test"]


def run(command: str, ray: str) -> None:
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "RAY_ADDRESS": ray}
    environment["ARGS"] = "--queries 10"  # of `make demo`: a thirtieth of its queries
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


@pytest.fixture(scope="session")
def readme() -> Iterator[str]:
    """The README's commands, in order, but that its Ray is started after the first one, so that the
    others need none of their own; the address of that Ray's job server.
    """
    # The head of other tests would have ports that `ray start --head` wants.
    subprocess.run([BIN / "ray", "stop"], check=True, capture_output=True)
    for output in OUTPUTS:
        shutil.rmtree(ROOT / "out" / output, ignore_errors=True)
    first, *others = commands()
    assert "make demo" in first
    others.remove(START)
    others.remove(STOP)
    (address,) = re.findall(r"--address (http\S+)", "\n".join(others))
    run(first, "")
    run(START, "")
    try:
        for command in others:
            run(command, "127.0.0.1:6379")
        yield address
    finally:
        run(STOP, "")
