"""The figures that stand at the top of a report."""

from __future__ import annotations

from dataclasses import dataclass

from reranker_core.errors import count
from reranker_core.report.night import Night
from reranker_core.report.rate import duration
from reranker_core.report.sections.run import gpu_and_cpu_hours, pairs_per_second
from reranker_core.report.unrecorded import Unrecorded


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        label: what it is.
        value: in large type.
        more: a few words below it.
        alarms: whether a person should look at it.

    """

    label: str
    value: str
    more: str = ""
    alarms: bool = False


def figures(night: Night) -> list[Figure]:
    """What a person asks first, as far as it is known."""
    totals = night.totals
    found = [
        Figure("pairs with a score", f"{totals.scored:,}", f"of {totals.pairs:,}"),
        Figure(
            "without a score",
            f"{totals.quarantined_pairs:,}",
            f"{totals.quarantined_fraction:.2%}" if totals.quarantined_pairs else "",
            alarms=totals.quarantined_pairs > 0,
        ),
    ]
    drift = night.drift
    if drift is not None and drift.rank_correlation is not None:
        found.append(
            Figure(
                "order as in the earlier output",
                f"{drift.rank_correlation:.3f}",
                "rank correlation; 1 is the same order",
                alarms=bool(drift.remarks()),
            )
        )
    quality = night.manifest.get("quality")
    if quality:
        first = quality["comparisons"][0]
        found.append(
            Figure(
                first["measure"],
                f"{first['after']:.3f}",
                f"{first['before']:.3f} before reranking",
                alarms=first["after"] < first["before"],
            )
        )
    if night.attempts:
        at_least = Unrecorded.of(totals, night.attempts).at_least
        seconds = sum(attempt.seconds for attempt in night.attempts)
        attempts = count(len(night.attempts), "attempt")
        found.append(Figure("working time", at_least(duration(seconds)), attempts))
        rate, counted = pairs_per_second(night.attempts)
        hours, _ = gpu_and_cpu_hours(night)
        if rate:
            more = f"{at_least(f'{hours:,.2f}')} GPU hours" if hours else counted
            found.append(Figure("pairs per second", f"{rate:,.0f}", more))
    return found
