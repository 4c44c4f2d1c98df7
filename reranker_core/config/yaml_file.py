"""A YAML file as a tree of sections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from reranker_core.config.values import paired
from reranker_core.errors import ConfigError


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The sections of a file; an empty file has none.

    Raises:
        ConfigError: the file cannot be read, is not YAML, holds no mapping, or sets a key twice.

    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        tree = yaml.load(text, _UniqueKeys)
    except OSError as error:
        advice = "; --config must be followed by a file, not by a key" if "=" in str(path) else ""
        raise ConfigError(f"--config {path}: cannot be read ({error.strerror}){advice}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"--config {path}: is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"--config {path}: {_explain(error)}") from None
    except RecursionError:
        raise ConfigError(f"--config {path}: is nested too deeply") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"--config {path}: contains a {type(tree).__name__}; expected sections such as `input:`"
        )
    return tree


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML's loader, which by itself takes the last of several equal keys."""

    def construct_yaml_str(self, node: yaml.ScalarNode) -> str:
        return paired(str(self.construct_scalar(node)))

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        marks: dict[str, yaml.Mark] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key must be text, not a list or a mapping",
                    problem_mark=key.start_mark,
                )
            if key.value in marks:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key.value}' is already set in line "
                    f"{marks[key.value].line + 1}; remove one of them",
                    problem_mark=key.start_mark,
                )
            marks[key.value] = key.start_mark
        return super().construct_mapping(node, deep)


_UniqueKeys.add_constructor("tag:yaml.org,2002:str", _UniqueKeys.construct_yaml_str)


def _explain(error: yaml.YAMLError) -> str:
    """Where and what, in one line; PyYAML's own text has several, and repeats the file."""
    if isinstance(error, yaml.reader.ReaderError):
        code = ord(error.character) if isinstance(error.character, str) else error.character
        return f"character {error.position + 1} is U+{code:04X}, which YAML does not allow"
    if not isinstance(error, yaml.MarkedYAMLError):
        return "is not valid YAML"
    mark = error.problem_mark or error.context_mark
    place = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    what = "; ".join(part for part in (error.problem, error.context) if part)
    if "'\\t'" in what:
        what += "; indent with spaces, because YAML does not allow tabs there"
    return f"{place}{what or 'is not valid YAML'}"
