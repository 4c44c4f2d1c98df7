"""The scores of a night: all of them, by shard, and pairs that have none."""

from __future__ import annotations

from urllib.parse import quote

from reranker_core.errors import count
from reranker_core.report import charts
from reranker_core.report.night import Night
from reranker_core.report.sections.section import Cell, Link, Section, known, shown_id

_SHOWN_SHARDS = 12
_QUANTILES = ("min", "p05", "p25", "p50", "p75", "p95", "max", "mean")


def scores(night: Night) -> Section:
    """Counts and the distribution of all scores."""
    totals = night.totals
    found = totals.scores.summary()
    facts = {
        "pairs scored": f"{totals.scored:,} of {totals.pairs:,}"
        + ("" if night.manifest else " in the committed parts"),
        "through the model": f"{count(totals.distinct, 'distinct pair')}, "
        f"{count(totals.tokens, 'token')}",
        "scored again in float32": count(totals.rescued, "pair") if totals.rescued else "",
        "special tokens in text": count(totals.special_tokens_in_text, "pair")
        if totals.special_tokens_in_text
        else "",
    }
    if not found["count"]:
        return Section("Scores", known(facts))
    facts |= {
        "ties": f"{found['tied_within_parts']:.1%} of the scores equal another one in their part",
        "unusual parts": ", ".join(
            f"{part['part']} (median {part['median']:.4g})" for part in found["unlike"]
        ),
    }
    return Section(
        "Scores",
        known(facts),
        ("min", "5 %", "25 %", "median", "75 %", "95 %", "max", "mean"),
        (tuple(f"{found[name]:.4g}" for name in _QUANTILES),),
        charts=charts.histogram(totals.scores),
    )


def shards(night: Night) -> Section:
    """The shards whose scores differ most from those of all."""
    found = sorted(night.shards, key=lambda shard: -abs(shard.distance))
    shown = found[:_SHOWN_SHARDS]
    unlike = sum(shard.is_unlike for shard in found)
    rows = tuple(
        (
            shard.name,
            f"{shard.pairs:,}",
            f"{shard.unscored_fraction:.2%}" if shard.unscored_fraction else "none",
            f"{shard.p05:.4g}",
            f"{shard.p50:.4g}",
            f"{shard.p95:.4g}",
            "unusual" if shard.is_unlike else "",
        )
        for shard in shown
    )
    note = f"{unlike:,} of {count(len(found), 'shard')} with unusual scores."
    if not unlike:
        note = f"None of the {len(found):,} shards has unusual scores."
    if len(found) > len(shown):
        note += f" The {len(shown)} that differ most are shown."
    return Section(
        "Shards",
        columns=("shard", "pairs", "without score", "5 %", "median", "95 %", ""),
        rows=rows,
        note=note,
        charts=charts.by_shard(shown),
    )


def quarantine(night: Night) -> Section:
    """Reasons of missing scores, with examples."""
    totals = night.totals
    rows: list[tuple[Cell, ...]] = []
    for reason, number in totals.quarantined.most_common():
        examples = night.examples.get(reason, [])
        rows.append((reason, f"{number:,}", f"{number / totals.pairs:.2%}", "", "", ""))
        rows += [
            (
                "",
                "",
                "",
                shown_id(each.get("query_id")),
                shown_id(each.get("doc_id")),
                Link(f"{_name(each.get('shard'))}, row {each.get('row')}", quote(each["list"])),
            )
            for each in examples
        ]
    return Section(
        "Pairs without a score",
        columns=("reason", "pairs", "share", "query id", "document id", "where"),
        rows=tuple(rows),
        note="A few examples of each reason. The files in _quarantine list all pairs.",
    )


def _name(shard: object) -> str:
    """The last part of a URL."""
    return str(shard).rstrip("/").rpartition("/")[2]
