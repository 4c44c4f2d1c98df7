"""What a night is compared with: an earlier output, and judgements of relevance."""

from __future__ import annotations

from typing import Any

from reranker_core.report import charts
from reranker_core.report.comparing import CHANGED
from reranker_core.report.drift import Drift
from reranker_core.report.sections.section import Section, known, shown_id


def comparison(drift: Drift) -> Section:
    """What differs from the earlier output."""
    facts = {
        "compared with": drift.against,
        f"{'pairs' if drift.by_pair else 'queries'} compared": f"{drift.sampled:.2%}, chosen by a "
        "hash of their ids",
        "pairs in both": f"{drift.common:,}; {drift.changed:.1%} of them moved by more than 1 % of "
        "the range",
        "pairs in only one output": f"{drift.gone:.1%} of the earlier output's pairs are gone, "
        f"{drift.new:.1%} of this one's are new",
        "shift of the scores": f"{drift.distance:.4f} of the 5 to 95 % range; chance alone gives "
        f"at most {drift.noise:.4f}"
        if drift.distance is not None
        else "no scores to compare",
        "rank correlation": f"{drift.rank_correlation:.4f}, mean over {drift.queries:,} queries"
        if drift.rank_correlation is not None
        else "",
        "same in the top 10": f"{drift.overlap:.1%}, mean over {drift.overlap_queries:,} queries"
        if drift.overlap is not None
        else "",
        "shards with another order": ", ".join(
            f"{shard} (rank correlation {mean:.3f})" for shard, mean in drift.odd_shards.items()
        ),
        "mix": "; ".join(drift.mixes),
        "settings that differ": "; ".join(drift.settings) or "none",
    }
    rows = tuple(
        (
            shown_id(each["query_id"]),
            shown_id(each["doc_id"]),
            f"{each['before']:.5g}",
            f"{each['after']:.5g}",
        )
        for each in drift.movers
        if abs(each["after"] - each["before"]) > CHANGED * (drift.span or 0)
    )
    return Section(
        "Compared with the earlier output",
        known(facts),
        ("query id", "document id", "before", "now"),
        rows,
        "The common pairs whose scores moved furthest." if rows else "",
        charts.before_and_after(drift.quantiles),
    )


def quality(found: dict[str, Any]) -> Section:
    """How well the output ranks, before and after reranking."""
    rows = tuple(
        (
            each["measure"],
            f"{each['queries']:,}",
            f"{each['before']:.4f}",
            f"{each['after']:.4f}",
            f"{each['after'] - each['before']:+.4f}",
            "" if each["low"] is None else f"{each['low']:+.4f} … {each['high']:+.4f}",
        )
        for each in found["comparisons"]
    )
    judged, absent = found["judged"], found["absent"]
    whole = f"{judged:,}, in a sample of {found['share_of_queries']:.1%} of all queries"
    facts = {
        "judged queries": f"{judged:,}" if found["share_of_queries"] == 1 else whole,
        "without candidates": f"{absent:,}, which count as 0" if absent else "",
        "worst queries": ", ".join(f"{name} ({change:+.3f})" for name, change in found["worst"]),
    }
    columns = ("measure", "queries", "first stage", "reranked", "difference", "95 % interval")
    return Section("Quality", known(facts), columns, rows)
