"""Files that are written from the keys: as the keys are now."""

from __future__ import annotations

from pathlib import Path

from reranker_core.command.reference import PAGE, SCHEMA, page
from reranker_core.config.schema import schema_text

ROOT = Path(__file__).parents[3]


def test_the_schema_is_that_of_the_keys():
    assert (ROOT / SCHEMA).read_text(encoding="utf-8") == schema_text(), "run: make reference"


def test_the_page_is_that_of_the_keys():
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert text == page(text), "run: make reference"
