"""Wrong keys and values, named with what is expected and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from reranker_core.config.keys import Config
from reranker_core.config.lookup import find, known_keys, section_of
from reranker_core.config.peers import NOTES, ours
from reranker_core.config.values import kinds, read, shown, words

# What our own validators raise: their text is the message.
_OWN = ("value_error", "assertion_error")
_UNKNOWN = {"extra_forbidden", "invalid_key"}  # the latter: no text, such as `1:` in a file
_SHOWN = 200  # characters of a value
_CLEARLY = 0.8  # of difflib's measure: `models` is meant to be `model`


def explain(error: ValidationError, tree: Mapping[str, Any], typed: Mapping[str, str]) -> list[str]:
    """A line for each wrong key.

    Args:
        error: what pydantic found.
        tree: the configuration that it looked at.
        typed: the keys of the command line, as they were typed.

    """
    found: dict[str, list[Any]] = {}
    for item in error.errors(include_url=False):
        found.setdefault(_key(item), []).append(item)
    # Of a mapping, what is wrong inside says more than that the key could have been a text.
    wrong = {
        key: items
        for key, items in found.items()
        if not any(other.startswith(f"{key}.") for other in found)
    }
    unknown = [key for key, items in wrong.items() if {i["type"] for i in items} & _UNKNOWN]
    meant = {_meant(_whole(key, typed)) for key in unknown}  # what a misspelt key sets is there
    return [
        _line(
            key, items, typed.get(key, shown(_value(tree, key))), key in typed, _whole(key, typed)
        )
        for key, items in wrong.items()
        if key not in meant or {item["type"] for item in items} != {"missing"}
    ]


def _key(item: Any) -> str:
    """The dotted key. Pydantic's path also names members of unions, and counts items of lists."""
    key: list[str] = []
    section: type[BaseModel] | None = Config
    for step in item["loc"]:
        field = None if section is None else section.model_fields.get(str(step))
        if field is not None:
            key.append(str(step))
            section = section_of(field)
        elif section is None or section.__name__ not in str(step):
            if item["type"] in _UNKNOWN:
                key.append(str(step))
            break
    return ".".join(key)


def _value(tree: Mapping[str, Any], key: str) -> Any:
    value: Any = tree
    for step in key.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _whole(key: str, typed: Mapping[str, str]) -> str:
    """The key as it was typed, where pydantic names only its first, unknown step."""
    return next((given for given in typed if given.startswith(f"{key}.")), key)


def _line(key: str, items: list[Any], text: str, is_typed: bool, whole: str) -> str:
    field, types = find(key), {item["type"] for item in items}
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    own = [item["msg"].partition(", ")[2] for item in items if item["type"] in _OWN]
    if not key:
        return own[0] if own else "expected sections such as `input:` that contain keys"
    if types & _UNKNOWN:
        if field is not None and not is_typed:  # only a file can have the dots in one key
            above, _, leaf = key.rpartition(".")
            return f"{key}: is written with dots; in a file, write {leaf} below {above}:"
        return f"{whole}: unknown key{_nearest(whole)} ('batch-reranker run --help' lists all keys)"
    if "missing" in types:
        return f"{key}: missing; set it in the file or as {key}=…"
    if field is None or (section_of(field) and "." not in key):
        section = section_of(field)
        if own:
            return f"{key}: {own[0]}"
        first = f", with keys such as {key}.{next(iter(section.model_fields))}" if section else ""
        return f"{key}={text}: '{key}' is a section{_nearest(key) or first}"
    if own:
        return f"{key}={text}: {own[0]}"
    if "string_too_short" in types and not text:
        return f"{key}=: the value is empty; expected {words(kinds(field))}"
    if "string_unicode" in types:
        return (
            f"{key}={text!a}: contains bytes that are not UTF-8; rename it, or set LC_ALL=C.UTF-8"
        )
    return f"{key}={text}: expected {words(kinds(field))}{_remedy(key, field, text, is_typed)}"


def _remedy(key: str, field: FieldInfo, text: str, is_typed: bool) -> str:
    names = {kind.name for kind in kinds(field)}
    items = {item.name for kind in kinds(field) for item in kind.items}
    quotes = "; put text that looks like a number, a date or a truth value (Yes, no) in quotes"
    if not is_typed and "text" in names:
        return quotes
    listed = f"[{text}]"
    if "list" in names and text[:1] != "[" and _fits(field, read(listed, kinds(field))):
        return f"; write {key}={listed}"
    if "text" in items and text[:1] == "[":
        return "; put its items in double quotes"
    return quotes if "mapping" in names else ""


def _fits(field: FieldInfo, value: Any) -> bool:
    try:
        annotation: Any = Annotated[field.annotation, field]
        TypeAdapter(annotation).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _nearest(key: str) -> str:
    """The key that was meant, as far as can be told, or the keys of its section."""
    found = _meant(key)
    if found is not None:
        return f"; did you mean '{found}'?{NOTES.get(found, '')}"
    section, _, leaf = key.lower().partition(".")
    inside = [name for name in known_keys() if name.startswith(f"{section}.")]
    return f"; the keys of {section} are {', '.join(inside)}" if leaf and inside else ""


def _meant(key: str) -> str | None:
    """The known key that resembles this one most; None if none does."""
    key, known = key.lower().lstrip("-"), known_keys()
    section, _, leaf = key.rpartition(".")
    if key in known:
        return key
    alike = [name for name in known if name.rpartition(".")[2] == leaf]
    if alike and leaf not in Config.model_fields:
        return max(alike, key=lambda name: (_alike(section, name), -name.count(".")))
    others = [name for name in Config.model_fields if name != key]
    if section in Config.model_fields:  # only the last part can be wrong
        known = {name: field for name, field in known.items() if name.startswith(f"{section}.")}
        others = []
    by_depth = sorted(known, key=lambda name: -name.count("."))
    leaves = {name.rpartition(".")[2]: name for name in by_depth}
    found = (
        [near for near in [ours(leaf)] if near]
        or difflib.get_close_matches(key, others, 1, _CLEARLY)
        or difflib.get_close_matches(key, known, n=1, cutoff=0.6 if others else _CLEARLY)
        or [leaves[near] for near in difflib.get_close_matches(leaf, leaves, n=1)]
        or difflib.get_close_matches(key, others, 1)
    )
    return found[0] if found else None


def _alike(section: str, name: str) -> float:
    """How near the section of a key is to one that was typed."""
    return difflib.SequenceMatcher(None, section, name.rpartition(".")[0]).ratio()
