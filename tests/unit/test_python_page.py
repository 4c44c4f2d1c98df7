"""Every block of docs/python.md, one after the other, as it stands there."""

import re

import pytest

from tests.running import ROOT


@pytest.mark.slow
def test_all_blocks_of_the_page_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == page.count("```") / 2 >= 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    printed = capsys.readouterr().out
    assert "no/such/folder" in printed
    assert "pairs[0]: the passage is None; expected a str." in printed
    assert len(names["results"]) == 2
