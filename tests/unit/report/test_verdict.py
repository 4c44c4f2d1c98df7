"""The verdict of a preflight, and what is shown with it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from reranker_core.checks import Check, Report
from reranker_core.config import PreflightConfig
from reranker_core.report.verdict import print_report, verdict

FINITE = Check("weights", "finite", True, "none", "no NaN or Inf in any weight")
ORDER = Check("meaning", "order", True, "en 100%", "at least 80%", notable=True)
SHORT = Check("tokenizer", "length", True, "16 tokens", "more", notable=True)
TORN = Check("weights", "no_holes", False, "1 found: a.weight", "no zeros", "Copy it again.")


def printed(*checks: Check, verbose: bool = False, **settings: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    print_report(Report(checks), PreflightConfig(**settings), "sha256:0", console, verbose)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("checks", "settings", "line"),
    [
        ([FINITE], {}, "PASSED: may score English; not required: de, fr, es, ru, zh, ja, ar, hi"),
        (
            [FINITE],
            {"languages": ["en", "de", "fr", "es", "ru", "zh", "ja"]},
            "PASSED: may score English, German, French, Spanish, Russian, Chinese and Japanese; "
            "not required: ar, hi",
        ),
        ([FINITE, TORN], {}, "REFUSED: weights/no_holes"),
        (
            [TORN],
            {"checks": {"weights": "warn"}, "languages": ["en", "de", "fr", "es", "ru"]},
            "PASSED: may score English, German, French, Spanish and Russian; not required: zh, ja, "
            "ar, hi; failed, not enforced: weights/no_holes",
        ),
        (
            [FINITE],
            {"checks": {"meaning": "off"}},
            "PASSED, but its scores were not checked (meaning=off)",
        ),
        (
            [SHORT],
            {"languages": ["hi"]},
            "PASSED: may score Hindi; not required: en, de, fr, es, ru, zh, ja, ar; note "
            "tokenizer/length",
        ),
    ],
)
def test_the_verdict_is_one_line(checks: list[Check], settings: dict[str, Any], line: str):
    assert verdict(Report(tuple(checks)), PreflightConfig(**settings)) == line
    assert printed(*checks, **settings)[0] == line


def test_what_is_notable_is_shown_and_all_on_request():
    short = "\n".join(printed(FINITE, ORDER, TORN))
    assert "finite" not in short
    assert "en 100%" in short
    assert "Copy it again." in short
    assert "2 of 3 checks passed (-v shows all)" in short
    everything = printed(FINITE, ORDER, TORN, verbose=True)
    assert any("weights/finite" in x and "no NaN or Inf in any weight" in x for x in everything)
