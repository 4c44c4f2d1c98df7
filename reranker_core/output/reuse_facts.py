"""What a finished output says of the scores that it has from earlier ones."""

from __future__ import annotations

from typing import Any

from reranker_core.output.attempts import Attempt
from reranker_core.output.totals import Totals


def reuse_facts(totals: Totals, attempts: list[Attempt]) -> dict[str, Any]:
    """For the manifest: the field `reuse`, or nothing without `reuse.from`.

    What was saved is the time that a replica needed for a pair in the earlier outputs, for each
    distinct pair that was not run through the model. What the run has scored first, because several
    parts have it (`scored_now`), is not saved.
    """
    sources = {each["url"]: each for attempt in attempts for each in attempt.reuse}
    if not sources and not totals.reused:
        return {}
    last = attempts[-1] if attempts else Attempt(0, "", "")
    keys = max(1, sum(each["pairs"] for each in sources.values()))
    each = sum(s["pairs"] * s["seconds_per_pair"] for s in sources.values()) / keys
    shared = [s["scored_now"] for s in sources.values() if s.get("scored_now") is not None]
    hours = max(0, totals.reused - totals.checked - sum(shared)) * each / 3600
    found = {
        "pairs": totals.reused,
        "checked": totals.checked,
        **({"shared_pairs_scored": sum(shared)} if shared else {}),
        "from": list(sources.values()),
        "seconds_per_pair": round(each, 6),
        "gpu_hours_saved": round(hours * last.gpus, 4),
        "cpu_hours_saved": round(hours * last.cpus, 4),
    }
    return {"reuse": found}


def seconds_per_pair(manifest: dict[str, Any]) -> float:
    """Time of a replica for a distinct pair, from the manifest of an output; 0 if unknown."""
    computed, reuse = manifest.get("distinct_pairs") or 0, manifest.get("reuse") or {}
    # A few new pairs among known ones take longer, each, than pairs in full batches.
    if reuse.get("seconds_per_pair") and computed <= reuse.get("pairs", 0):
        return float(reuse["seconds_per_pair"])
    return float(manifest.get("scoring_seconds") or 0.0) / max(computed, 1)
