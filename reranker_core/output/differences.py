"""Differences between two runs, by configuration key, with the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reranker_core.config import Config, ModelConfig, known_keys

VERSION = "the version of batch-reranker"
_SHOWN = 8
_LONGEST = 80
_OF_SHARDS = ("shard", "snapshot")
_FILES = {"weights": "weights", "tokenizer": "tokenizer", "config": "config.json", "code": "*.py"}
# Set by keys of their own; what else a template holds comes with its name.
_OF_TEMPLATE = ("prompt", "instruction")
# What other columns can be made of scores: `batch-reranker derive`.
_DERIVED = ("output.rank", "output.normalize", "output.label_thresholds", "output.columns.")
_CHOOSE_COLUMNS = ("input.columns.", "output.passthrough", "output.text")
# What counts only while another key has a certain value comes and goes with that key.
_DEPENDENT = {
    "model.chunk_overlap": "model.long_passage",
    "model.max_chunks": "model.long_passage",
    "model.top_k": "model.long_passage",
}


@dataclass(frozen=True)
class Difference:
    """One difference.

    Attributes:
        key: a configuration key, such as `model.max_length`, or the name of a shard.
        before, now: the values; None if there is none.
        kind: `setting`, `model` (its files), `version` (of this package), `column` (of the input),
            `shard`, or `snapshot` (of a table).

    """

    key: str
    before: Any
    now: Any
    kind: str = "setting"

    def __str__(self) -> str:
        if self.kind == "shard":
            return f"{self.key}: {_change(self.before, self.now)}"
        if self.kind == "model":
            return (
                f"{self.key}: different content ({_short(self.before)} before, {_short(self.now)} "
                "now)"
            )
        return f"{self.key}: {_short(self.before)} before, {_short(self.now)} now"


def differences(
    before: dict[str, Any], now: dict[str, Any], config: Config | None = None
) -> list[Difference]:
    """All differences between two identities, except those that are caused by another one.

    Args:
        before: identity of the run that started the output.
        now: identity of this run.
        config: configuration of this run, if known.

    """
    found = {difference.key: difference for difference in _pairs(before, now)}
    set_now = config is not None and config.model.query_max_length is not None
    if "model.max_length" in found and not set_now and _same_share(before, now):
        found.pop("model.query_max_length", None)
    if any(key.startswith(_CHOOSE_COLUMNS) for key in found):
        found = {key: one for key, one in found.items() if one.kind != "column"}
    for key, cause in _DEPENDENT.items():
        if cause in found and key in found and None in (found[key].before, found[key].now):
            del found[key]
    return list(found.values())


def explain(url: str, found: list[Difference]) -> str:
    """The message for an output that was started by a different run. Columns that can be made of
    the scores may change, so they are named only if nothing else differs.
    """
    found = [one for one in found if not _is_derived(one)] or found
    shards = [difference for difference in found if difference.kind in _OF_SHARDS]
    others = [difference for difference in found if difference.kind not in _OF_SHARDS]
    shown = [f"  {difference}" for difference in [*others, *shards][:_SHOWN]]
    if len(found) > _SHOWN:
        shown.append(f"  … and {len(found) - _SHOWN} more")
    remedies = []
    kinds = {difference.kind for difference in others}
    if "setting" in kinds:
        remedies.append("To resume, use the previous values.")
    if "model" in kinds:
        remedies.append("To resume, use the previous model files.")
    if "version" in kinds:
        remedies.append("To resume, use the version of batch-reranker that started the output.")
    if "column" in kinds:
        remedies.append("To resume, restore the columns of the input.")
    if shards:
        also = "Also set" if others else "Set"
        remedies.append(
            f"{also} input.changed=rescore to score new and changed shards and to remove the "
            "results of the old ones, or restore the shards."
        )
    if not shards and are_derived(others):
        remedies.append(
            f"To get these columns from the existing scores, run `batch-reranker derive {url} --to "
            "NEW` with these keys."
        )
    remedies.append("To start again, choose another output.path or remove the folder.")
    what = "with other shards" if shards and not others else "with other settings"
    if not others and not shards:
        what = "differently"
    first = f"output.path={url} belongs to another run, which was started {what}:"
    return "\n".join([first, *shown, " ".join(remedies)])


def are_derived(found: list[Difference]) -> bool:
    """Whether there are differences, and they are only columns that can be made of the scores."""
    return bool(found) and all(map(_is_derived, found))


def _is_derived(difference: Difference) -> bool:
    return difference.key.startswith((*_DERIVED, *_CHOOSE_COLUMNS[1:]))


def shard_differences(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Difference]:
    """The shards that were changed, added or removed between two sets of shards."""
    return _by_name(before, now, "{}", "shard")


def _by_name(
    before: dict[str, Any], now: dict[str, Any], key: str, kind: str = "setting"
) -> Iterator[Difference]:
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            yield Difference(key.format(name), before.get(name), now.get(name), kind)


def _columns(before: dict[str, Any] | None, now: dict[str, Any] | None) -> Iterator[Difference]:
    if before is None and now is not None:
        yield Difference("columns", "those of the first shard", ", ".join(now), "column")
    else:
        yield from _by_name(before or {}, now or {}, "column {}", "column")


def _pairs(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Difference]:
    for section in sorted(before.keys() | now.keys()):
        old, new = before.get(section), now.get(section)
        if section == "fingerprint":
            yield from _scoring(old or {}, new or {})
        elif section == "input":
            rest_old, rest_new = dict(old or {}), dict(new or {})
            shards = rest_old.pop("shards", {}), rest_new.pop("shards", {})
            snapshots = rest_old.pop("snapshots", {}), rest_new.pop("snapshots", {})
            yield from _columns(rest_old.pop("schema", None), rest_new.pop("schema", None))
            yield from _settings("input", rest_old, rest_new)
            yield from _by_name(*snapshots, "input.snapshot ({})", "snapshot")
            yield from shard_differences(*shards)
        else:
            yield from _settings(section, old, new)


def _scoring(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Difference]:
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if name == "scoring_version":
            yield Difference(VERSION, f"scoring {old}", f"scoring {new}", "version")
        elif name == "model":
            for file in sorted((old or {}).keys() | (new or {}).keys()):
                pair = (old or {}).get(file), (new or {}).get(file)
                if pair[0] != pair[1]:
                    yield Difference(f"model.path ({_FILES.get(file, file)})", *pair, "model")
        elif name == "template":
            yield from _templates(old or {}, new or {})
        elif name == "reproducible":
            yield from _reproducible(old, new)
        elif name == "tokenizer":
            made = "as transformers makes it"
            yield Difference("the tokenizer", old or made, new or made, "version")
        elif name == "normalize":
            yield Difference("output.normalize", old, new)
        elif name in ModelConfig.model_fields:
            yield Difference(f"model.{name}", old, new)
        else:
            yield Difference(name, old, new)


def _templates(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Difference]:
    other = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old != new and name in _OF_TEMPLATE:
            yield Difference(f"model.{name}", old, new)
        elif old != new:
            other.append(name)
    if len(other) == 1:
        yield Difference(f"model.template ({other[0]})", before.get(other[0]), now.get(other[0]))
    elif other:
        names = f"a different one (differs in {', '.join(other)})"
        yield Difference("model.template", "one", names)


def _reproducible(before: Any, now: Any) -> Iterator[Difference]:
    if before is None or now is None:
        yield Difference("score.reproducible", before is not None, now is not None)
        return
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if name == "shapes_version":
            yield Difference(VERSION, f"shapes {old}", f"shapes {new}", "version")
        else:
            yield Difference(f"score.{name}", old, new)


def _settings(path: str, before: Any, now: Any) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(now, dict) and path not in known_keys():
        for name in sorted(before.keys() | now.keys()):
            yield from _settings(f"{path}.{name}", before.get(name), now.get(name))
    elif before != now:
        yield Difference(path, before, now)


def _same_share(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether the length of a query follows from that of a pair in the same way both times: as
    three quarters of what a prompt leaves of it.
    """
    if not all("max_length" in run["fingerprint"] for run in (before, now)):
        return False
    lengths = [(run["fingerprint"]["max_length"], run["fingerprint"]) for run in (before, now)]
    old, new = (pair * 3 // 4 - scoring["query_max_length"] for pair, scoring in lengths)
    return abs(old - new) <= 1


def _change(before: dict[str, Any] | None, now: dict[str, Any] | None) -> str:
    if before is None or now is None:
        told = f"new, {_size(now)}" if now is not None else f"removed; it had {_size(before or {})}"
        return told
    if _size(before) != _size(now):
        return f"{_size(before)} before, {_size(now)} now"
    return "same size, but different content, or a new modification time and no recorded checksum"


def _size(shard: dict[str, Any]) -> str:
    return f"{shard.get('rows')} rows in {shard.get('size')} bytes"


def _short(value: Any) -> str:
    if value is None:
        return "not set"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
