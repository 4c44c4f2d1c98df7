"""The keys of the configuration and the exit codes, as help shows them."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Iterator

from pydantic.fields import FieldInfo

from reranker_core.config import Config, known_keys
from reranker_core.config.lookup import section_of
from reranker_core.config.values import kinds, shown, symbols

EXIT_CODES = {
    0: "complete",
    1: "the program failed",
    2: "wrong configuration or input",
    3: "preflight refused the model, or a score differs from an earlier output (reuse.check)",
    4: "finished, but more pairs have no score than guard.max_quarantined_fraction allows",
    5: "incomplete; run the same command again",
    6: "the output belongs to another run, or another run is writing it",
    7: "finished, but a limit on drift or quality is exceeded",
}

EVERYTHING = tuple(Config.model_fields)


def heeded(key: str, heeds: Iterable[str]) -> bool:
    """Whether a key is one of these, or in one of these sections."""
    return any(key == entry or key.startswith(f"{entry}.") for entry in heeds)


def describe_codes(codes: Iterable[int] = EXIT_CODES) -> str:
    """These exit codes, a line each."""
    return "\n".join(["Exit codes:", *(f"  {code}  {EXIT_CODES[code]}" for code in codes)]) + "\n"


def describe_keys(heeds: Iterable[str], width: int) -> str:
    """The keys that are `heeds` or in these sections, grouped by section: values, default,
    sentence; a line is at most `width` long.
    """
    lines = ["Configuration keys:"]
    for section, keys in sections(heeds):
        lines += ["", f"  {section}: {purpose(section)}"]
        for key, field in keys.items():
            lines.append(f"    {key}={symbols(kinds(field))}  ({labelled_default(field)})")
            lines += textwrap.wrap(
                plain(field.description or ""),
                width,
                initial_indent=" " * 8,
                subsequent_indent=" " * 8,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines) + "\n"


def sections(heeds: Iterable[str]) -> Iterator[tuple[str, dict[str, FieldInfo]]]:
    """The keys of each section."""
    known = {key: field for key, field in known_keys().items() if heeded(key, heeds)}
    for section in Config.model_fields:
        if keys := {key: field for key, field in known.items() if key.split(".")[0] == section}:
            yield section, keys


def purpose(section: str) -> str:
    """What a section is for."""
    return plain(inspect.getdoc(section_of(Config.model_fields[section])) or "")


def default(field: FieldInfo) -> str:
    """The default of a key, in words."""
    return "required" if field.is_required() else shown(field.default)


def labelled_default(field: FieldInfo) -> str:
    """The same, where nothing else says that it is the default."""
    return "required" if field.is_required() else f"default: {default(field)}"


def plain(text: str) -> str:
    """Text of the documentation in one line, without its code marks."""
    return " ".join(text.replace("`", "").split())
