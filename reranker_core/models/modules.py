"""The modules that sentence-transformers makes a model of, as `modules.json` lists them.

A reranker's chain is a Transformer alone; with LogitScore, whose ids are its answers; or a
Transformer and Pooling, Dense and LayerNorm, of which the last is a Dense that writes `scores`. An
embedding model has a similar chain without such a Dense.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIST_FILE = "modules.json"
SETTINGS_FILE = "config_sentence_transformers.json"
BODY_FILE = "sentence_bert_config.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Module:
    """One of the list.

    Attributes:
        kind: the last part of its class, such as `Pooling`, if that is sentence-transformers';
            else the whole name of the class.
        path: its folder within the checkpoint's, '' for that one itself.
        settings: its config.json, empty where there is none.
        weights: its weight file, None where it has none or is the checkpoint's body.

    """

    kind: str
    path: str
    settings: dict[str, Any]
    weights: Path | None

    @property
    def name(self) -> str:
        """Of the folder, as a part of its weights' names."""
        return self.path.replace(".", "_").replace("/", "_")

    @property
    def makes_scores(self) -> bool:
        """Whether a cross-encoder's chain ends here."""
        return self.settings.get("module_output_name") == "scores"


def read_modules(folder: Path) -> tuple[Module, ...]:
    """All in order; none where there is no list, or it cannot be read."""
    found = []
    listed = read_json(folder / LIST_FILE)
    for entry in listed if isinstance(listed, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            return ()
        path = str(entry.get("path") or "")
        own = folder / path
        settings = read_json(own / "config.json") if path else None
        weights = [own / name for name in _WEIGHTS if path and (own / name).exists()]
        found.append(
            Module(
                _kind(entry["type"]),
                path,
                settings if isinstance(settings, dict) else {},
                weights[0] if weights else None,
            )
        )
    return tuple(found)


def _kind(name: str) -> str:
    return name.rpartition(".")[2] if name.startswith("sentence_transformers.") else name


def read_body(folder: Path) -> dict[str, Any]:
    """What sentence-transformers says of the Transformer; empty where it says nothing."""
    found = read_json(folder / BODY_FILE)
    return found if isinstance(found, dict) else {}


def body_length(folder: Path) -> int | None:
    """Most tokens of a pair, as sentence-transformers says; None where it says nothing."""
    told = read_body(folder).get("max_seq_length")
    return told if isinstance(told, int) and told is not True and told > 0 else None


def default_prompt(folder: Path) -> str | None:
    """What `config_sentence_transformers.json` puts before a query, or gives a chat template as
    instruction, where nothing else is asked for; None where it names nothing.
    """
    found = read_json(folder / SETTINGS_FILE)
    if not isinstance(found, dict) or not isinstance(found.get("prompts"), dict):
        return None
    prompt = found["prompts"].get(str(found.get("default_prompt_name")))
    return prompt if isinstance(prompt, str) and prompt.strip() else None


def takes_messages(folder: Path) -> bool:
    """Whether pairs go through a chat template: the files say so, or they say nothing and there is
    one.
    """
    kinds = read_body(folder).get("modality_config")
    if isinstance(kinds, dict):
        return "message" in kinds
    tokenizer = read_json(folder / "tokenizer_config.json")
    written = isinstance(tokenizer, dict) and bool(tokenizer.get("chat_template"))
    return written or (folder / "chat_template.jinja").exists()


def read_json(path: Path) -> Any:
    """What a JSON file holds; None where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
