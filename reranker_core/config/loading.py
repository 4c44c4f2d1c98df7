"""YAML and `section.field=value` overrides → the configuration.

A wrong key or value raises `ConfigError` on the driver, in milliseconds, and names the key and the
nearest right one.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from reranker_core.config.keys import Config
from reranker_core.errors import ConfigError


def load_config(
    path: str | Path | None,
    overrides: Iterable[str] = (),
    placeholders: Mapping[str, str] | None = None,
) -> Config:
    """Read `path` (YAML) if given, lay `section.field=value` overrides over it, validate.

    Values of overrides are YAML, so `replicas.max=2`, `output.rank=true` and
    `input.path=[a.parquet, b.parquet]` mean what they look like. `placeholders` are values of
    keys that are set nowhere.

    Raises:
        ConfigError: the file is missing or no mapping, an override has no `=`, a key is unknown,
            or a value has the wrong type or range. All problems are named at once.

    """
    tree = _read_yaml(path) if path is not None else {}
    for override in overrides:
        _apply(tree, override)
    for key, value in (placeholders or {}).items():
        section, _, name = key.partition(".")
        if isinstance(node := tree.setdefault(section, {}), dict):
            node.setdefault(name, value)
    # An empty or absent section is one whose keys all have their defaults, or are named as missing.
    sections = {name: {} if tree.get(name) is None else tree[name] for name in Config.model_fields}
    try:
        return Config.model_validate(tree | sections)
    except ValidationError as error:
        problems = dict.fromkeys(f"  {_explain(item)}" for item in error.errors())
        raise ConfigError("\n".join(["the configuration is wrong:", *problems])) from None


def known_keys(section: type[BaseModel] = Config, prefix: str = "") -> dict[str, Any]:
    """All dotted keys with their pydantic field, in the order of the classes."""
    keys: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys |= known_keys(kind, f"{prefix}{name}.")
        else:
            keys[prefix + name] = field
    return keys


def _read_yaml(path: str | Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: not valid YAML: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"--config {path}: holds a {type(tree).__name__}, expected sections such as `input:`"
        )
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"override '{override}' has no '='; expected section.field=value")
    key = key.strip()
    value = _override_value(known_keys().get(key), text)
    *sections, field = key.split(".")
    node = tree
    for section in sections:
        child = node.get(section)
        if child is None:
            child = node[section] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"override '{override}': '{section}' is a value, not a section")
        node = child
    node[field] = value


def _override_value(field: Any, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    if str in kinds and not isinstance(value, str | list | dict | None):
        return text  # a path such as 2026-01-31 or a revision such as 1234567
    if float in kinds and isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)  # YAML 1.1 takes 1e-3 for text
    return value


def _explain(item: Any) -> str:
    # pydantic adds the names of union members and validators to the path; keep the real keys.
    known = known_keys()
    parts = [str(part) for part in item["loc"]]
    while parts and item["type"] != "extra_forbidden" and ".".join(parts) not in known:
        if any(key.startswith(".".join(parts) + ".") for key in known):
            break
        parts.pop()
    key = ".".join(parts) or "the configuration"
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known, n=1) or _same_leaf(key, known)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return f"{key}: unknown key{hint} (--help lists all keys)"
    if item["type"] == "missing":
        return f"{key}: missing; set it in the file or as {key}=…"
    return f"{key}={item['input']!r}: {item['msg'].removeprefix('Value error, ')}"


def _same_leaf(key: str, known: Iterable[str]) -> list[str]:
    leaves = {name.rpartition(".")[2]: name for name in known}
    near = difflib.get_close_matches(key.rpartition(".")[2], leaves, n=1)
    return [leaves[leaf] for leaf in near]
