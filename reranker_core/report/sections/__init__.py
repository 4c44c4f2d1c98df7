"""What a report shows of a night, section by section: the same for the page and for text."""

from __future__ import annotations

from collections.abc import Iterator

from reranker_core.report.night import Night
from reranker_core.report.sections.comparison import comparison, quality
from reranker_core.report.sections.preflight import preflight
from reranker_core.report.sections.run import time, what_ran
from reranker_core.report.sections.scores import quarantine, scores, shards
from reranker_core.report.sections.section import Cell, Link, Section

__all__ = ["Cell", "Link", "Section", "sections"]


def sections(night: Night) -> Iterator[Section]:
    """All sections that this night has something for: first what a decision depends on."""
    if night.totals.quarantined:
        yield quarantine(night)
    if night.drift is not None:
        yield comparison(night.drift)
    if night.manifest.get("quality"):
        yield quality(night.manifest["quality"])
    yield scores(night)
    if len(night.shards) > 1:
        yield shards(night)
    if night.attempts:
        yield time(night)
    yield what_ran(night)
    if night.preflight is not None:
        yield preflight(night)
