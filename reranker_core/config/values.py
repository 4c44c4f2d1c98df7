"""The values that a key takes: read from text, and described for people."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

# Where YAML would begin a comment, and what stands for its sign meanwhile.
_COMMENT, _HASH = re.compile(r"(?<=[\s\[,])#"), "\ue000"
# Of YAML 1.1, which configuration files are written in.
_DOTTED = re.compile(r"^([+-]?)\.(?=(inf|nan)$)", re.IGNORECASE)  # Python has no `.inf`
_TRUE, _FALSE, _NULL = ("true", "yes", "on"), ("false", "no", "off"), ("null", "~", "")


@dataclass(frozen=True)
class Kind:
    """One kind of value; a key may take several.

    Attributes:
        name: choice, text, integer, number, boolean, null, list or mapping.
        choices: of a choice, the words.
        bounds: of a number, such as (">=1",).
        items: of a list, the kinds of its items.
        section: of a mapping with fixed keys, its class.

    """

    name: Literal["choice", "text", "integer", "number", "boolean", "null", "list", "mapping"]
    choices: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    items: tuple[Kind, ...] = ()
    section: type[BaseModel] | None = None


def kinds(field: FieldInfo) -> tuple[Kind, ...]:
    """The kinds of value that a key takes."""
    return tuple(_kinds(field.annotation, field.metadata))


def _kinds(annotation: Any, metadata: Any = ()) -> Iterator[Kind]:
    for extra in metadata:
        written = getattr(extra, "json_schema_input_type", None)
        if get_origin(written) is Literal:  # what a validator takes besides
            annotation = written
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _kinds(arguments[0], [*metadata, *_flat(arguments[1:])])
    elif origin in (Union, types.UnionType):
        for argument in arguments:
            yield from _kinds(argument, metadata)
    elif origin is Literal:
        yield Kind("choice", choices=tuple(str(word) for word in arguments if word is not False))
    elif origin is list:
        yield Kind("list", items=tuple(_kinds(arguments[0])))
    elif annotation is type(None):
        yield Kind("null")
    elif annotation is bool:
        yield Kind("boolean")
    elif annotation in (int, float):
        yield Kind("integer" if annotation is int else "number", bounds=tuple(_bounds(metadata)))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield Kind("mapping", section=annotation)
    else:
        yield Kind("mapping" if origin is dict else "text")


def _flat(metadata: Any) -> Iterator[Any]:
    for extra in metadata:
        yield from extra.metadata if isinstance(extra, FieldInfo) else (extra,)


def _bounds(metadata: Any) -> Iterator[str]:
    for extra in metadata:
        for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
            if (bound := getattr(extra, name, None)) is not None:
                yield f"{sign}{bound}"


def read(text: str, taken: tuple[Kind, ...]) -> Any:
    """The value that `text` stands for, where a key takes these kinds.

    Where text is taken, it stays as it was typed, with three exceptions: a list or a mapping in
    brackets where the key takes one; `null` where the key takes it; and text that is wholly a JSON
    string, which is the text in its quotes. What fits no kind is given back as it was typed.
    """
    names = {kind.name for kind in taken}
    word = text.strip()
    for name, kind, brackets in (("list", list, "[]"), ("mapping", dict, "{}")):
        if name in names and len(word) > 1 and word[0] + word[-1] == brackets:
            value = _collection(word, taken)
            if isinstance(value, kind):
                return value
    if "text" in names:
        return None if text == "null" and "null" in names else _unquoted(text)
    return _scalar(word, text, taken)


def _scalar(word: str, text: str, taken: tuple[Kind, ...]) -> Any:
    names = {kind.name for kind in taken}
    bare = word[1:-1] if word[:1] in ("'", '"') and word[:1] == word[-1:] else word
    lower = bare.lower()
    choices = [choice for kind in taken for choice in kind.choices]
    if lower in choices:
        return int(lower) if lower.isdecimal() else lower
    if "null" in names and lower in _NULL:
        return None
    if ("boolean" in names or "off" in choices) and lower in _FALSE:
        return False
    if "boolean" in names and lower in _TRUE:
        return True
    if names & {"integer", "number"}:
        for type_ in (int, float):
            try:
                return type_(_DOTTED.sub(r"\1", word))
            except ValueError:
                continue
    return text


def _collection(word: str, taken: tuple[Kind, ...]) -> Any:
    items = {item.name for kind in taken for item in kind.items}
    # Items that are text stay as they were typed, too. In one line, a ` #` begins no comment.
    verbatim = bool(items & {"text", "choice"}) and word[0] == "["
    if verbatim and "\n" not in word:
        word = _COMMENT.sub(_HASH, word)
    loader = yaml.BaseLoader if verbatim else yaml.SafeLoader
    try:
        value = yaml.load(word, loader)
    except yaml.YAMLError:
        return None
    if verbatim and isinstance(value, list):
        return [
            paired(item.replace(_HASH, "#")) if isinstance(item, str) else item for item in value
        ]
    if isinstance(value, list) and "number" in items:
        return [read(item, (Kind("number"),)) if isinstance(item, str) else item for item in value]
    return value


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            pass
    return text


def paired(text: str) -> str:
    """Text whose characters beyond U+FFFF are single ones: JSON escapes each as two halves, which
    PyYAML leaves as they are.
    """
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:  # a half alone, as in names that are not UTF-8
        return text


def shown(value: Any) -> str:
    """A value as it is written in a configuration."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return f"[{', '.join(map(shown, value))}]"
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


def symbols(taken: tuple[Kind, ...]) -> str:
    """The kinds in short: `{auto|true|false}`, `TEXT|[TEXT, ...]`, `INTEGER>=1|null`."""
    words = [word for kind in taken for word in _words(kind)]
    if any(kind.name in ("choice", "boolean") for kind in taken):
        return "{" + "|".join(words) + "}"
    return "|".join(words)


def _words(kind: Kind) -> tuple[str, ...]:
    match kind.name:
        case "choice":
            return kind.choices
        case "boolean":
            return ("true", "false")
        case "null":
            return ("null",)
        case "list":
            return (f"[{symbols(kind.items)}, ...]",)
        case "mapping":
            return ("{KEY: VALUE, ...}",)
    return (kind.name.upper() + ",".join(kind.bounds),)


def words(taken: tuple[Kind, ...]) -> str:
    """The kinds in a sentence: `auto, true or false`; `a whole number >=1 or null`."""
    lists_last = sorted(taken, key=lambda kind: kind.name == "list")
    parts = [part for kind in lists_last for part in _phrase(kind)]
    return " or ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _phrase(kind: Kind) -> tuple[str, ...]:
    bounds = " and ".join(kind.bounds)
    match kind.name:
        case "integer" | "number":
            name = "a whole number" if kind.name == "integer" else "a number"
            return (f"{name} {bounds}".strip(),)
        case "text":
            return ("text",)
        case "list":
            return (f"a list in brackets, each item {words(kind.items)}",)
        case "mapping":
            return ("a mapping in braces",)
    return _words(kind)


def choices(taken: tuple[Kind, ...]) -> tuple[str, ...]:
    """The words among the values."""
    named = (kind for kind in taken if kind.name in ("choice", "boolean", "null"))
    return tuple(word for kind in named for word in _words(kind))
