"""The page of a night: one HTML file without scripts, which needs no network."""

from __future__ import annotations

import json
import logging
from functools import cache
from typing import TYPE_CHECKING

from reranker_core.errors import brief
from reranker_core.output.manifest import PAGE
from reranker_core.report.glance import figures
from reranker_core.report.night import Night, read_night
from reranker_core.report.outcome import outcome
from reranker_core.report.sections import Link, sections
from reranker_core.storage.store import Store

if TYPE_CHECKING:
    from jinja2 import Template

log = logging.getLogger(__name__)


def write_page(store: Store, night: Night) -> None:
    """Write the page of `night` beside the data."""
    store.write(PAGE, page(night).encode(errors="replace"))


def write_report(store: Store) -> None:
    """Write the page of a finished output. It is a report: without it, the scores are no worse."""
    try:
        night = read_night(store)
        if night.manifest:
            write_page(store, night)
    except Exception as error:  # noqa: BLE001
        log.warning("the report was not written: %s", brief(error))


def page(night: Night) -> str:
    """The page. All values of the output are escaped, and its policy lets no script run."""
    return _template().render(
        night=night,
        configuration=json.dumps(night.configuration, indent=1, ensure_ascii=False),
        outcome=outcome(night),
        figures=figures(night),
        sections=list(sections(night)),
        is_link=lambda cell: isinstance(cell, Link),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reranker_core.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")
