"""docs/design.md says where things are."""

import re

from tests.running import ROOT

CORE = ROOT / "reranker_core"
LINES = (ROOT / "docs/design.md").read_text(encoding="utf-8").splitlines()
# A row of the table of folders: its first cell names them.
ROWS = [line.split("|") for line in LINES if re.match(r"\| `[a-z_]+(/|\.py)`", line)]
PLACES = [name for _, cell, *_ in ROWS for name in re.findall(r"`(.+?)`", cell)]


def test_every_folder_and_every_module_at_the_root_has_a_row():
    there = [
        f"{path.name}/" if path.is_dir() else path.name
        for path in CORE.iterdir()
        if not path.name.startswith("__") and (path.is_dir() or path.suffix == ".py")
    ]
    assert sorted(PLACES) == sorted(there)
    assert sum(name.endswith(".py") for name in there) <= 5


def test_every_file_that_a_row_or_the_walk_names_is_there():
    for _, cell, *others in ROWS:
        (folder, *_) = re.findall(r"`(.+?)`", cell)
        for name in re.findall(r"`([a-z_0-9]+(?:\.py|/))`", " ".join(others)):
            assert (CORE / folder / name).exists(), f"{folder}{name}"
    (walk,) = re.findall(r"\*\*A part's way\.\*\*.*?(?=\n\n)", "\n".join(LINES), re.DOTALL)
    named = re.findall(r"`([a-z_]+/(?:[a-z_]+\.py)?)`", walk)
    assert len(named) > 10
    for name in named:
        assert (CORE / name).exists(), name
