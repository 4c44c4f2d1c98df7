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
    return {
        "batch-reranker": str(night.manifest.get("version") or ""),
        **(night.attempts[-1].software if night.attempts else {}),
    }


def time(night: Night) -> Section:
    """The attempts, their time and resources."""
    totals, attempts = night.totals, night.attempts
    seconds = sum(attempt.seconds for attempt in attempts)
    rate = pairs_per_second(attempts)
    gpu_hours = sum(attempt.gpu_hours for attempt in attempts)
    facts = {
        "start": clock(attempts[0].start),
        "end": clock(attempts[-1].end) if attempts[-1].end else "",
        "working time": f"{duration(seconds)} in {count(len(attempts), 'attempt')}",
        "rate": f"{rate:,.1f} pairs/s, loading included" if rate else "",
        "GPU hours": f"{gpu_hours:,.2f}" if gpu_hours else "",
        "CPU hours": f"{sum(attempt.cpu_hours for attempt in attempts):,.2f}",
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


def pairs_per_second(attempts: list[Attempt]) -> float:
    """Over the attempts that have scored pairs; 0 without one."""
    scoring = [attempt for attempt in attempts if attempt.scoring_seconds and attempt.replicas]
    return sum(each.pairs for each in scoring) / max(sum(each.seconds for each in scoring), 1e-9)


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
    end = "no sign after " + clock(attempt.last_sign)
    if attempt.end:
        end = "all parts committed" if attempt.replicas else "columns changed, nothing scored"
        if attempt.exit_code:
            end = f"exit code {attempt.exit_code} ({attempt.outcome})"
    return (
        str(attempt.number),
        clock(attempt.start),
        duration(attempt.seconds),
        f"{attempt.parts:,} of {attempt.parts_to_score:,}",
        f"{attempt.pairs:,}",
        f"{attempt.pairs / attempt.seconds:,.1f}" if attempt.seconds else "",
        f"{len(attempt.replicas):,}",
        ", ".join(devices),
        end,
    )
