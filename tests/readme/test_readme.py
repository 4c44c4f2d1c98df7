"""Every command of the README, run as it stands there.

Apart from the other tests because `ray stop`, which is one of them, ends every Ray of the machine.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
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


def test_the_examples_in_python_give_three_rows_and_one_score():
    # After the commands, whose output they read.
    assert [rows_of(example) for example in blocks("python")] == [3, 1]


def rows_of(example):
    """The length of what its last line gives."""
    *lines, last = example.strip().splitlines()
    script = "\n".join([*lines, f"print(len({last}))"])
    return int(subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True))


def test_the_query_of_the_output_page_gives_the_best_passages():
    page = (ROOT / "docs/output.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    script = f"import duckdb; print(duckdb.sql({query!r}).columns)"
    found = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True)
    assert found.strip() == "['query_id', 'doc_id', 'score', 'passage']"


READERS = {
    "PyArrow": "import pyarrow.dataset; print({}.count_rows())",
    "pandas": "import pandas as pd; print(len({}))",
    "Polars": "import polars as pl; print({}.collect().height)",
    "DuckDB": "import duckdb; print(len(duckdb.sql({!r})))",
    "Hugging Face datasets": "from datasets import load_dataset; print(len({}['train']))",
}


@pytest.mark.parametrize("reader", READERS)
def test_the_lines_of_the_output_page_read_all_rows(reader, tmp_path):
    page = (ROOT / "docs/output.md").read_text(encoding="utf-8")
    (line,) = re.findall(rf"\| {reader} \| `(.*?)` \|", page)
    rows = len(pd.read_parquet(ROOT / "out/mine"))
    found = subprocess.check_output(
        [sys.executable, "-c", READERS[reader].format(line)],
        cwd=ROOT,
        env=os.environ | {"HF_HOME": str(tmp_path)},
        text=True,
    )
    assert int(found) == rows > 0
