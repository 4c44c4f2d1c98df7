"""The verdict on a night, in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reranker_core.errors import count
from reranker_core.report.night import Night

_SHOWN = 3


@dataclass(frozen=True)
class Outcome:
    """The verdict.

    Attributes:
        level: `good`; `look` if a person should read the page; `bad` if the result must not be
            used.
        word: in capitals.
        sentence: why.

    """

    level: Literal["good", "look", "bad"]
    word: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.word}: {self.sentence}"


def outcome(night: Night) -> Outcome:
    """Judge a night from its own facts."""
    if night.refused:
        failed = [f"{c.group}/{c.name}" for c in night.preflight.failed] if night.preflight else []
        return Outcome(
            "bad", "REFUSED", f"the preflight refused the model ({', '.join(failed)}); exit code 3."
        )
    if night.damaged:
        files = count(len(night.damaged), "data file")
        return Outcome(
            "bad",
            "DAMAGED",
            f"{files} missing or changed since the commit, such as {night.damaged[0]}. Run the "
            "same command again: only their rows are scored again.",
        )
    if not night.manifest:
        return Outcome("bad", "NOT FINISHED", _unfinished(night))
    if night.finished and night.totals.parts != night.manifest.get("parts"):
        return Outcome(
            "bad",
            "DAMAGED",
            f"{night.totals.parts:,} of {night.manifest.get('parts'):,} parts have a receipt. Run "
            "the same command again to restore the others.",
        )
    limits = night.manifest.get("exceeded") or []
    if limits:
        how = "To accept, raise or remove the limit and run the same command again; exit code 7."
        return Outcome("bad", "NOT ACCEPTED", " ".join([*limits, how]))
    if night.manifest.get("state") == "over_quarantine_limit":
        return Outcome(
            "bad",
            "NOT ACCEPTED",
            f"{night.totals.quarantined_fraction:.2%} of the pairs have no score, more than "
            "guard.max_quarantined_fraction allows; exit code 4.",
        )
    if not night.finished:
        return Outcome("bad", "NOT FINISHED", "all parts are scored, but _SUCCESS is missing.")
    notes = remarks(night)
    counted = f"{night.totals.scored:,} of {count(night.totals.pairs, 'pair')} have a score"
    if not notes:
        return Outcome("good", "GOOD", f"{counted}; every part is proven.")
    return Outcome("look", "COMPLETE, WITH REMARKS", f"{counted}; {'; '.join(notes)}.")


def remarks(night: Night) -> list[str]:
    """What a person should look at in a finished output."""
    notes = []
    if not night.totals.pairs:
        notes.append("the input has no pairs")
    scores = night.totals.scores.summary()
    if night.totals.scored > 1 and scores["min"] == scores["max"]:
        notes.append("all scores are equal")
    if night.totals.quarantined_pairs:
        notes.append(f"{count(night.totals.quarantined_pairs, 'pair')} without a score")
    unlike = [shard.name for shard in night.shards if shard.is_unlike]
    if unlike:
        more = ", …" if len(unlike) > _SHOWN else ""
        noun = count(len(unlike), "shard")
        notes.append(f"{noun} with unusual scores ({', '.join(unlike[:_SHOWN])}{more})")
    if night.drift is not None:
        notes += night.drift.remarks()
    notes += night.manifest.get("missing") or []
    relaxed = night.manifest.get("preflight_not_enforced") or []
    if relaxed:
        notes.append(f"preflight checks not enforced ({', '.join(relaxed)})")
    if night.set_aside:
        notes.append(f"{count(len(night.set_aside), 'replica')} set aside")
    if night.replaced:
        notes.append(f"{count(len(night.replaced), 'replica')} replaced")
    return notes


def _unfinished(night: Night) -> str:
    planned = f" of {night.planned:,}" if night.planned is not None else ""
    text = f"{night.totals.parts:,}{planned} parts are committed."
    if not night.attempts:
        return text
    last = night.attempts[-1]
    if last.end is None:
        return f"{text} The last attempt was killed or is running; last update: {last.last_sign}."
    if last.exit_code:
        return f"{text} The last attempt ended with exit code {last.exit_code}: {last.error}"
    return text
