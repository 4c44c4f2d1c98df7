"""Copies of the demo's model with damage that only numbers show; `damaged.py` measures all."""

from pathlib import Path

import pytest

from reranker_core.errors import PreflightRefused
from tests.faults.damaged import DAMAGED, DEMO, SOUND, load

# One or two of each check: the others are measured by `python -m tests.faults.damaged`.
SOME = (
    "the vocabulary's ids dealt out alphabetically",
    "token types exchanged",
    "noise of 50 %",
    "a hole of 64 KiB at 40 % of the file",
    "every 16th weight of a layer zero",
    "3 bits a row",
    "a layer twice",
    "activation linear",
)


@pytest.mark.parametrize("what", SOME)
def test_damage_is_refused_by_the_check_that_sees_it(what: str, tmp_path: Path):
    check, build = DAMAGED[what]
    build(DEMO, tmp_path / "m")
    with pytest.raises(PreflightRefused) as caught:
        load(tmp_path / "m")
    checks = caught.value.report["checks"]
    assert check in {f"{c['group']}/{c['name']}" for c in checks if not c["passed"]}


@pytest.mark.parametrize("what", ["8 bits a row", "bfloat16"])
def test_rounding_that_keeps_the_ranking_is_accepted(what: str, tmp_path: Path):
    SOUND[what](DEMO, tmp_path / "m")
    assert not load(tmp_path / "m").report.failed
