"""A night in a terminal or a log: the same sections as on the page."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reranker_core.report.night import Night
from reranker_core.report.outcome import outcome
from reranker_core.report.sections import Cell, Link, sections

_COLOURS = {"good": "green", "look": "yellow", "bad": "red"}


def print_night(night: Night, console: Console) -> None:
    """Print the verdict and all sections without their charts."""
    found = outcome(night)
    console.print(f"[bold {_COLOURS[found.level]}]{escape(str(found))}", highlight=False)
    for section in sections(night):
        console.print(f"\n[bold]{section.title}")
        facts = Table(box=None, show_header=False)
        facts.add_column(style="dim")
        facts.add_column(overflow="fold")
        for label, value in section.facts:
            facts.add_row(label, escape(value))
        if section.facts:
            console.print(facts)
        if section.rows:
            table = Table(*section.columns, box=None)
            for row in section.rows:
                table.add_row(*map(_text, row))
            console.print(table)
        if section.note:
            console.print(section.note, style="dim", highlight=False)


def _text(cell: Cell) -> str:
    return escape(f"{cell.text} ({cell.href})" if isinstance(cell, Link) else cell)
