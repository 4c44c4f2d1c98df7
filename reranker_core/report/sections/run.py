"""What ran, how long, and with what."""

from __future__ import annotations

from typing import Any

from reranker_core.errors import count
from reranker_core.models.digests import short_digest
from reranker_core.output.attempts import Attempt
from reranker_core.report import charts
from reranker_core.report.night import Night
from reranker_core.report.rate import duration
from reranker_core.report.sections.section import Cell, Section, clock, known
from reranker_core.report.unrecorded import Unrecorded

_SHOWN_ATTEMPTS = 20


def what_ran(night: Night) -> Section:
    """Model, input, output and software."""
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
        "digest": model.get("digest")
        or settings.get("digest")
        or (short_digest(scoring["model"]) if scoring.get("model") else None),
        "scored as": night.manifest.get("scored_as"),
        "number format": scoring.get("dtype"),
        "input": path,
        "read": f"{count(rows, 'row')} in {count(len(shards), 'shard')}, {size:,} bytes",
        "not read": ", ".join(f"{number:,} {reason}" for reason, number in passed_over.items()),
        "changed": "; ".join(night.manifest.get("not_kept") or []),
        "output": night.url,
        "software": ", ".join(f"{k} {v}" for k, v in _software(night).items()),
    }
    return Section("What ran", known(facts))


def _software(night: Night) -> dict[str, str]:
    version = {"batch-reranker": str(night.manifest.get("version") or "")}
    last = night.attempts[-1].software if night.attempts else {}
    return {name: number for name, number in {**version, **last}.items() if number}


def time(night: Night) -> Section:
    """The attempts, their time and resources."""
    totals, attempts = night.totals, night.attempts
    unrecorded = Unrecorded.of(totals, attempts)
    at_least = unrecorded.at_least
    seconds = sum(attempt.seconds for attempt in attempts)
    rate, counted = pairs_per_second(attempts)
    gpu_hours, cpu_hours = gpu_and_cpu_hours(night)
    facts = {
        "start": clock(attempts[0].start),
        "end": clock(attempts[-1].end) if attempts[-1].end else "",
        "working time": f"{at_least(duration(seconds))} in {count(len(attempts), 'attempt')}",
        "rate": f"{rate:,.1f} pairs/s, {counted}" if rate else "",
        "GPU hours": at_least(f"{gpu_hours:,.2f}") if gpu_hours else "",
        "CPU hours": at_least(f"{cpu_hours:,.2f}"),
        "not in these records": str(unrecorded),
        "waiting": f"{totals.waiting_fraction:.1%} of the time replicas waited for parts"
        if totals.seconds
        else "",
        "padding": f"{totals.padding_fraction:.1%} of the computed tokens were padding"
        if totals.computed_tokens
        else "",
        **_reused(night.manifest.get("reuse") or {}),
    }
    shown = attempts[-_SHOWN_ATTEMPTS:]
    more = len(attempts) - len(shown)
    return Section(
        "Time and resources",
        known(facts),
        ("attempt", "start", "duration", "parts", "pairs", "pairs/s", "replicas", "device", "end"),
        tuple(map(_attempt, shown)),
        f"{count(more, 'earlier attempt')} not shown" if more else "",
        charts.rates(shown),
    )


def pairs_per_second(attempts: list[Attempt]) -> tuple[float, str]:
    """Over the attempts that have scored pairs, and what is counted; 0 without such an attempt.

    The last record of an attempt that did not record its end is mostly of its start. So such
    attempts count only if there are no others.
    """
    scoring = [attempt for attempt in attempts if attempt.scoring_seconds and attempt.replicas]
    ended = [attempt for attempt in scoring if attempt.end]
    counted = "loading included"
    if any(attempt.end is None for attempt in attempts):
        counted += ", of the attempts that recorded their end" if ended else ", by the last record"
    found = ended or scoring
    rate = sum(each.pairs for each in found) / max(sum(each.seconds for each in found), 1e-9)
    return rate, counted


def gpu_and_cpu_hours(night: Night) -> tuple[float, float]:
    """Of all replicas. Of what attempts have not recorded, the receipts tell the time of scoring
    and waiting; the time of loading is missing.
    """
    attempts = night.attempts
    killed = [attempt for attempt in attempts if attempt.end is None]
    more = Unrecorded.of(night.totals, attempts).replica_hours
    return (
        sum(each.gpu_hours for each in attempts) + more * min((k.gpus for k in killed), default=0),
        sum(each.cpu_hours for each in attempts) + more * min((k.cpus for k in killed), default=0),
    )


def _reused(reuse: dict[str, Any]) -> dict[str, str]:
    """What `output.reuse_facts` has found."""
    if not reuse:
        return {}
    saved = {"GPU": reuse["gpu_hours_saved"], "CPU": reuse["cpu_hours_saved"]}
    hours = " and ".join(f"{value:,.2f} {of} hours" for of, value in saved.items() if value)
    return {
        "earlier scores used": f"{count(reuse['pairs'], 'distinct pair')} from "
        f"{', '.join(each['url'] for each in reuse['from'])}",
        "scored first": count(reuse["shared_pairs_scored"], "distinct pair")
        + " that more than one part has (reuse.within)"
        if "shared_pairs_scored" in reuse
        else "",
        "compared with earlier scores": count(reuse["checked"], "pair") if reuse["checked"] else "",
        "saved by earlier scores": f"about {hours}" if hours else "",
    }


def _attempt(attempt: Attempt) -> tuple[Cell, ...]:
    devices = sorted(
        {f"{each.get('device')} {each.get('processor') or ''}".strip() for each in attempt.replicas}
    )
    end = "none recorded; last record " + clock(attempt.last_sign)
    if attempt.end:
        end = "all parts committed" if attempt.replicas else "columns changed, nothing scored"
        if attempt.exit_code:
            end = f"exit code {attempt.exit_code} ({attempt.outcome})"
    least = "" if attempt.end else "at least "
    return (
        str(attempt.number),
        clock(attempt.start),
        f"{least}{duration(attempt.seconds)}",
        f"{least}{attempt.parts:,} of {attempt.parts_to_score:,}",
        f"{least}{attempt.pairs:,}",
        f"{attempt.pairs / attempt.seconds:,.1f}" if attempt.seconds and attempt.end else "",
        f"{len(attempt.replicas):,}",
        ", ".join(devices),
        end,
    )
