"""Whether the JSON files of a checkpoint can be read, and hold values of the right kinds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from reranker_core.checks import Check
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.model_files import unreadable
from reranker_core.models.modules import BODY_FILE, SETTINGS_FILE

_TEMPLATE_FILE = "chat_template.jinja"
_SHOWN = 60


class _Kind(NamedTuple):
    """What a value has to be, beside null."""

    name: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_named_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_NUMBER = _Kind("a number", _is_number)
_COUNT = _Kind("a whole number from 1", lambda v: _is_number(v) and v > 0 and v % 1 == 0)
_TEXT = _Kind("a text", lambda value: isinstance(value, str))
_TEXTS = _Kind("a list of texts", _is_texts)
_MAPPING = _Kind("a mapping", lambda value: isinstance(value, dict))
_NAMED_TEXTS = _Kind("a mapping of names to texts", _is_named_texts)
# Files that are mappings, and the keys that this job reads.
_FILES: dict[str, dict[str, _Kind]] = {
    "tokenizer_config.json": {
        "model_max_length": _NUMBER,
        "tokenizer_class": _TEXT,
        "model_input_names": _TEXTS,
    },
    "special_tokens_map.json": {},
    "added_tokens.json": {},
    SETTINGS_FILE: {"prompts": _NAMED_TEXTS, "default_prompt_name": _TEXT},
    BODY_FILE: {
        "max_seq_length": _COUNT,
        "modality_config": _MAPPING,
        "processing_kwargs": _MAPPING,
    },
}


def check_json_files(checkpoint: Checkpoint) -> Check:
    """Settings that could not be read would be left out, and scores would be others."""
    problems = list(_problems(checkpoint))
    return Check(
        "files",
        "settings_readable",
        not problems,
        "; ".join(problems[:4]) or "all settings can be read",
        "JSON files with values of the right kinds, and a chat template in UTF-8",
        "Correct the value that is named, or copy the file again from the model's own repository.",
    )


def _problems(checkpoint: Checkpoint) -> Iterator[str]:
    for name, kinds in _FILES.items():
        path = checkpoint.folder / name
        if not path.exists():
            continue
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            yield unreadable(path, error)
            continue
        if not isinstance(found, dict):
            yield f"{name} holds {_short(found)}; expected a mapping"
            continue
        for key, kind in kinds.items():
            value = found.get(key)
            if value is not None and not kind.fits(value):
                yield f"{name}: {key} is {_short(value)}; expected {kind.name}"
        if name == SETTINGS_FILE:
            yield from _unknown_prompt(found)
    template = checkpoint.folder / _TEMPLATE_FILE
    if template.is_file():
        try:
            template.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            yield unreadable(template, error)


def _unknown_prompt(settings: dict[str, Any]) -> Iterator[str]:
    default, prompts = settings.get("default_prompt_name"), settings.get("prompts") or {}
    if isinstance(default, str) and isinstance(prompts, dict) and default not in prompts:
        named = ", ".join(map(str, prompts)) or "none"
        yield f"{SETTINGS_FILE}: default_prompt_name is {_short(default)}; its prompts are {named}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
