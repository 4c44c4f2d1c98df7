"""Keys by their dotted names, such as `input.columns.passage`."""

from __future__ import annotations

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from reranker_core.config.keys import Config
from reranker_core.config.values import kinds


def known_keys(section: type[BaseModel] = Config, prefix: str = "") -> dict[str, FieldInfo]:
    """All dotted keys with their pydantic field, in the order of the classes."""
    keys: dict[str, FieldInfo] = {}
    for name, field in section.model_fields.items():
        if is_section(field) and (below := section_of(field)) is not None:
            keys |= known_keys(below, f"{prefix}{name}.")
        else:
            keys[prefix + name] = field
    return keys


def is_section(field: FieldInfo) -> bool:
    """Whether a field is a group of keys, and takes nothing else."""
    return [kind.section is not None for kind in kinds(field)] == [True]


def section_of(field: FieldInfo | None) -> type[BaseModel] | None:
    """The class of a group of keys, also where a key takes other values besides."""
    taken = () if field is None else kinds(field)
    return next((kind.section for kind in taken if kind.section), None)


def find(key: str) -> FieldInfo | None:
    """The field behind a dotted key, or below one, such as `model.template.prompt`."""
    section: type[BaseModel] | None = Config
    field = None
    for step in key.split("."):
        field = None if section is None else section.model_fields.get(step)
        section = section_of(field)
    return field
