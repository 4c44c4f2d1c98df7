"""Every command of the README, run as it stands there, and the lines of Python beside them.

Apart from the other tests because `ray stop`, which is one of them, ends every Ray of the machine.
"""

import re

import pandas as pd
import pytest

from tests.readme.conftest import OUTPUTS, blocks
from tests.running import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("readme"),
]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_commands_leave_complete_outputs():
    for output in (*OUTPUTS, "demo/scores"):
        assert (ROOT / "out" / output / "_SUCCESS").exists()


def value(lines: str) -> object:
    """What the last line gives, which may be an expression."""
    *others, last = lines.strip().splitlines()
    names: dict[str, object] = {}
    exec("\n".join(others), names)
    return eval(last, names)


def test_the_examples_in_python_give_three_rows_and_one_score():
    printed = [example.replace("print(", "(") for example in blocks("python")]
    assert [len(value(example)) for example in printed] == [3, 1]


def test_the_query_of_the_output_page_gives_the_best_passages():
    page = (ROOT / "docs/output.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    found = value(f"import duckdb\nduckdb.sql({query!r}).columns")
    assert found == ["query_id", "doc_id", "score", "passage"]


READERS = {
    "PyArrow": "import pyarrow.dataset\n{}.count_rows()",
    "pandas": "import pandas as pd\nlen({})",
    "Polars": "import polars as pl\n{}.collect().height",
    "DuckDB": "import duckdb\nlen(duckdb.sql({!r}))",
    "Hugging Face datasets": "from datasets import load_dataset\nlen({}['train'])",
}


@pytest.mark.parametrize("reader", READERS)
def test_the_lines_of_the_output_page_read_all_rows(
    reader: str, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    if reader.startswith("Hugging Face"):
        import datasets  # not before a test needs it: it takes seconds

        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    page = (ROOT / "docs/output.md").read_text(encoding="utf-8")
    (line,) = re.findall(rf"\| {reader} \| `(.*?)` \|", page)
    rows = len(pd.read_parquet(ROOT / "out/mine"))
    assert value(READERS[reader].format(line)) == rows > 0
