"""A section of a report: what the page and the text are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Link(NamedTuple):
    """A text that leads to a file beside the page."""

    text: str
    href: str


Cell = str | Link


@dataclass(frozen=True)
class Section:
    """A heading with facts, a table and charts; each of them may be absent.

    Attributes:
        facts: labels and values.
        columns, rows: a table.
        note: a sentence below it.
        charts: SVG images.

    """

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    note: str = ""
    charts: tuple[str, ...] = ()


def known(facts: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
    """The facts that have a value."""
    return tuple((label, str(value)) for label, value in facts.items() if value)


def clock(time: str) -> str:
    """A time in ISO format, to the second."""
    return time[:19].replace("T", " ") + " UTC"


def shown_id(value: object) -> str:
    """An id in a table."""
    return "" if value is None else str(value)
