"""What a report shows of a night, section by section: the same for the page and for text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from reranker_core.config import PreflightConfig
from reranker_core.errors import count
from reranker_core.output.attempts import Attempt
from reranker_core.output.proof import Totals
from reranker_core.report import charts
from reranker_core.report.drift import Drift
from reranker_core.report.night import Night
from reranker_core.report.rate import duration
from reranker_core.report.verdict import verdict

_SHOWN_SHARDS = 12
_SHOWN_ATTEMPTS = 20


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


def sections(night: Night) -> Iterator[Section]:
    """All sections that this night has something for."""
    yield _what_ran(night)
    if night.attempts:
        yield _time(night)
    yield _scores(night)
    if len(night.shards) > 1:
        yield _shards(night)
    if night.totals.quarantined:
        yield _quarantine(night)
    if night.manifest.get("drift"):
        yield _drift(Drift.from_dict(night.manifest["drift"]))
    if night.manifest.get("quality"):
        yield _quality(night.manifest["quality"])
    if night.preflight is not None:
        yield _preflight(night)


def _what_ran(night: Night) -> Section:
    model = night.manifest.get("model") or {}
    settings = night.configuration.get("model") or {}
    given = night.manifest.get("input") or {}
    scoring = night.run["fingerprint"]
    path = given.get("path") or night.configuration.get("input", {}).get("path")
    path = ", ".join(path) if isinstance(path, list) else path
    shards = night.run["input"]["shards"].values()
    size = sum(shard.get("size") or 0 for shard in shards)
    rows = sum(shard.get("rows") or 0 for shard in shards)
    passed_over = night.manifest.get("passed_over") or {}
    facts = {
        "model": model.get("path") or settings.get("path"),
        "revision": model.get("revision") or settings.get("revision"),
        "digest": model.get("digest") or settings.get("digest"),
        "scored as": night.manifest.get("scored_as"),
        "number format": scoring.get("dtype"),
        "input": path,
        "read": f"{count(rows, 'row')} in {count(len(shards), 'shard')}, {size:,} bytes",
        "not read": ", ".join(f"{number:,} {reason}" for reason, number in passed_over.items()),
        "changed": "; ".join(night.manifest.get("not_kept") or []),
        "output": night.url,
        "software": ", ".join(f"{k} {v}" for k, v in _software(night).items()),
    }
    return Section("What ran", _known(facts))


def _software(night: Night) -> dict[str, str]:
    return {
        "batch-reranker": str(night.manifest.get("version") or ""),
        **(night.attempts[-1].software if night.attempts else {}),
    }


def _time(night: Night) -> Section:
    totals, attempts = night.totals, night.attempts
    pairs = sum(attempt.pairs for attempt in attempts)
    seconds = sum(attempt.seconds for attempt in attempts)
    gpu_hours = sum(attempt.gpu_hours for attempt in attempts)
    facts = {
        "start": _clock(attempts[0].start),
        "end": _clock(attempts[-1].end) if attempts[-1].end else "",
        "working time": f"{duration(seconds)} in {count(len(attempts), 'attempt')}",
        "rate": f"{pairs / seconds:,.1f} pairs/s, loading included" if seconds else "",
        "GPU hours": f"{gpu_hours:,.2f}" if gpu_hours else "",
        "CPU hours": f"{sum(attempt.cpu_hours for attempt in attempts):,.2f}",
        "waiting": f"{totals.waiting_fraction:.1%} of the time replicas waited for parts",
        "padding": f"{totals.padding_fraction:.1%} of the computed tokens were padding",
    }
    shown = attempts[-_SHOWN_ATTEMPTS:]
    more = len(attempts) - len(shown)
    return Section(
        "Time and resources",
        _known(facts),
        ("attempt", "start", "duration", "parts", "pairs", "pairs/s", "replicas", "device", "end"),
        tuple(map(_attempt, shown)),
        f"{count(more, 'earlier attempt')} not shown" if more else "",
        charts.rates(shown),
    )


def _attempt(attempt: Attempt) -> tuple[Cell, ...]:
    devices = sorted({str(replica.get("device")) for replica in attempt.replicas})
    end = "no sign after " + _clock(attempt.last_sign)
    if attempt.end:
        end = "all parts committed"
        if attempt.exit_code:
            end = f"exit code {attempt.exit_code} ({attempt.outcome})"
    return (
        str(attempt.number),
        _clock(attempt.start),
        duration(attempt.seconds),
        f"{attempt.parts:,} of {attempt.parts_to_score:,}",
        f"{attempt.pairs:,}",
        f"{attempt.pairs / attempt.seconds:,.1f}" if attempt.seconds else "",
        f"{len(attempt.replicas):,}",
        ", ".join(devices),
        end,
    )


def _scores(night: Night) -> Section:
    totals = night.totals
    facts = {
        "pairs scored": f"{totals.scored:,} of {totals.pairs:,}",
        "distinct pairs": f"{totals.distinct:,}, {count(totals.tokens, 'token')}",
        "scored again in float32": count(totals.rescued, "pair") if totals.rescued else "",
        "special tokens in text": count(totals.special_tokens_in_text, "pair")
        if totals.special_tokens_in_text
        else "",
        **_quantiles(totals),
    }
    return Section("Scores", _known(facts), charts=charts.histogram(totals.scores))


def _quantiles(totals: Totals) -> dict[str, str]:
    found = totals.scores.summary()
    if not found["count"]:
        return {}
    names = ("min", "p05", "p25", "p50", "p75", "p95", "max")
    return {
        "min / 5 / 25 / 50 / 75 / 95 % / max": " / ".join(f"{found[name]:.4g}" for name in names),
        "mean": f"{found['mean']:.4g}",
        "tied": f"{found['tied_within_parts']:.1%} of the scores of a part equal another one",
        "unusual parts": ", ".join(
            f"{part['part']} (median {part['median']:.4g})" for part in found["unlike"]
        ),
    }


def _shards(night: Night) -> Section:
    found = sorted(night.shards, key=lambda shard: -abs(shard.distance))
    shown = found[:_SHOWN_SHARDS]
    unlike = sum(shard.is_unlike for shard in found)
    rows = tuple(
        (
            shard.name,
            f"{shard.pairs:,}",
            f"{shard.unscored_fraction:.2%}",
            f"{shard.p05:.4g}",
            f"{shard.p50:.4g}",
            f"{shard.p95:.4g}",
            "unusual" if shard.is_unlike else "",
        )
        for shard in shown
    )
    note = f"{count(unlike, 'shard')} of {len(found):,} with unusual scores."
    if len(found) > len(shown):
        note += f" The {len(shown)} that differ most are shown."
    return Section(
        "Shards",
        columns=("shard", "pairs", "without score", "5 %", "median", "95 %", ""),
        rows=rows,
        note=note,
        charts=charts.by_shard(shown),
    )


def _quarantine(night: Night) -> Section:
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
                _id(each.get("query_id")),
                _id(each.get("doc_id")),
                Link(f"{each.get('shard')}, row {each.get('row')}", quote(each["list"])),
            )
            for each in examples
        ]
    return Section(
        "Pairs without a score",
        columns=("reason", "pairs", "share", "query id", "document id", "where"),
        rows=tuple(rows),
        note="A few examples of each reason. The files in _quarantine list all pairs.",
    )


def _drift(drift: Drift) -> Section:
    facts = {
        "compared with": drift.against,
        "queries compared": f"{drift.sampled:.2%}, chosen by a hash of their ids",
        "pairs": f"{drift.common:,} in both; {drift.gone:.1%} of the earlier ones are gone, "
        f"{drift.new:.1%} of these are new",
        "changed": f"{drift.changed:.1%} of the common pairs moved by more than 1 % of the range",
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
            _id(each["query_id"]),
            _id(each["doc_id"]),
            f"{each['before']:.5g}",
            f"{each['after']:.5g}",
        )
        for each in drift.movers
    )
    return Section(
        "Compared with the earlier output",
        _known(facts),
        ("query id", "document id", "before", "now"),
        rows,
        "The common pairs whose scores moved furthest." if rows else "",
        charts.before_and_after(drift.quantiles),
    )


def _quality(found: dict[str, Any]) -> Section:
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
    return Section("Quality", _known(facts), columns, rows)


def _preflight(night: Night) -> Section:
    report = night.preflight
    if report is None:
        return Section("Preflight")
    settings = night.configuration.get("preflight")
    config = PreflightConfig.model_validate(settings) if settings else PreflightConfig()
    rows = tuple(
        (
            "passed" if check.passed else "failed",
            f"{check.group}/{check.name}",
            check.measured,
            "" if check.passed else check.expected,
        )
        for check in report.checks
        if not check.passed or check.notable or check.group in ("meaning", "agreement")
    )
    facts = {
        "verdict": verdict(report, config),
        "checks": f"{len(report.checks) - len(report.failed)} of {len(report.checks)} passed",
        "replicas": f"{night.replicas:,} passed" if night.replicas else "",
        "replaced": "; ".join(
            f"{each.get('replica')} on {each.get('node')}: {each.get('reason')}"
            for each in night.replaced
        ),
    }
    return Section("Preflight", _known(facts), ("", "check", "measured", "expected"), rows)


def _known(facts: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
    return tuple((label, str(value)) for label, value in facts.items() if value)


def _clock(time: str) -> str:
    return time[:19].replace("T", " ") + " UTC"


def _id(value: object) -> str:
    return "" if value is None else str(value)
