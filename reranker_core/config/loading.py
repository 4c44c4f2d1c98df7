"""YAML and `section.field=value` overrides → the configuration.

A wrong key or value raises `ConfigError` on the driver. The message contains the key and the most
similar valid key.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from reranker_core.config.keys import Config, ScoringConfig
from reranker_core.config.lookup import find, is_section, section_of
from reranker_core.config.problems import explain
from reranker_core.config.sections.section import Section
from reranker_core.config.values import kinds, read
from reranker_core.config.yaml_file import read_yaml
from reranker_core.errors import ConfigError

Kind = TypeVar("Kind", bound=Section)


def load_config(
    path: str | Path | None,
    overrides: Iterable[str] = (),
    placeholders: Mapping[str, str] | None = None,
    base: Mapping[str, Any] | None = None,
) -> Config:
    """Read `path` (YAML) if given, apply `section.field=value` overrides, and validate.

    Text keys take the text unchanged. `replicas.max=2`, `output.rank=true` and
    `input.path=[a.parquet, b.parquet]` are converted to their types (docs/configuration.md).
    `placeholders` are values for keys that are not set. `base` is a configuration in place of a
    file.

    Raises:
        ConfigError: the file is missing or not a mapping, an override has no `=`, a key is unknown,
            or a value has the wrong type or range. The message lists all problems.

    """
    tree = read_yaml(path) if path is not None else copy.deepcopy(dict(base or {}))
    typed: dict[str, str] = {}
    for override in overrides:
        key, text = _parse(override)
        typed[key] = text
        _set(tree, key, _value(key, text))
    for key, value in (placeholders or {}).items():
        section, _, name = key.partition(".")
        if isinstance(node := tree.setdefault(section, {}), dict):
            node.setdefault(name, value)
    return _validated(Config, tree, typed)


def scoring_config(values: Mapping[str, Any]) -> ScoringConfig:
    """The configuration of a model alone, from values by their dotted key.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or range. The message lists all
            problems.

    """
    tree: dict[str, Any] = {}
    for key, value in values.items():
        if str(key).partition(".")[0] in Config.model_fields.keys() - ScoringConfig.model_fields:
            sections = ", ".join(ScoringConfig.model_fields)
            raise ConfigError(
                f"{key}: this key is only for jobs; leave it out. A model uses {sections}"
            )
        _set(tree, str(key), value)
    return _validated(ScoringConfig, tree, {})


def _validated(kind: type[Kind], tree: dict[str, Any], typed: Mapping[str, str]) -> Kind:
    _fill(tree, kind)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        problems = (f"  {line}" for line in explain(error, tree, typed))
        raise ConfigError("\n".join(["the configuration is wrong:", *problems])) from None


def _fill(tree: dict[str, Any], section: type[BaseModel]) -> None:
    """An empty or absent section is one whose keys all have their defaults, or are missing."""
    for name, field in section.model_fields.items():
        if is_section(field) and (below := section_of(field)) is not None:
            if tree.get(name) is None:
                tree[name] = {}
            if isinstance(tree[name], dict):
                _fill(tree[name], below)


def _parse(override: str) -> tuple[str, str]:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(
            f"'{override}' has no '='; expected SECTION.KEY=VALUE without spaces around '=', such "
            f"as input.path=FILE{_meant(override)}"
        )
    return key.strip(), text


def _meant(word: str) -> str:
    """What a file or folder without its key may be, by what it contains."""
    path = Path(word)
    if path.suffix in (".yaml", ".yml"):
        return f". For a configuration file, write --config {word}"
    if (path / "_run.json").is_file():
        return f". For the configuration of an earlier output, write --like {word}"
    if (path / "config.json").is_file():
        return f". For a model, write model.path={word}"
    if path.exists():
        return f". For the input, write input.path={word}"
    return ""


def _value(key: str, text: str) -> Any:
    field = find(key)
    if field is not None and not is_section(field):
        return read(text, kinds(field))
    try:  # a whole section, or a key that nobody knows
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, field = key.split(".")
    node = tree
    for section in sections:
        child = node.get(section)
        if child is None:
            child = node[section] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"override '{key}=…': '{section}' is a value, not a section")
        node = child
    node[field] = value
