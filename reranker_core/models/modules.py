"""The modules of a model that sentence-transformers saved, as `modules.json` lists them.

A reranker has a Transformer only; or a Transformer and LogitScore, which has the ids of its answer
tokens; or a Transformer, Pooling, and then Dense and LayerNorm, with a Dense at the end whose
output is `scores`. An embedding model has similar modules without such a Dense.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIST_FILE = "modules.json"
SETTINGS_FILE = "config_sentence_transformers.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
BODY_FILE = "sentence_bert_config.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Module:
    """One entry of modules.json.

    Attributes:
        kind: name of the class, such as `Pooling`; with its package, if that is not
            sentence-transformers.
        path: its folder inside the checkpoint; '' for the checkpoint's folder itself.
        settings: content of its config.json; empty if there is none.
        weights: its weight file; None if it has none, and for the Transformer.

    """

    kind: str
    path: str
    settings: dict[str, Any]
    weights: Path | None

    @property
    def name(self) -> str:
        """Name of the folder, as it stands in the names of its weights."""
        return self.path.replace(".", "_").replace("/", "_")

    @property
    def makes_scores(self) -> bool:
        """Whether the output of this module is the score."""
        return self.settings.get("module_output_name") == "scores"


def read_modules(folder: Path) -> tuple[Module, ...]:
    """All entries, in order; empty if there is no modules.json, or if it cannot be read."""
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
    """Content of sentence_bert_config.json, the settings of the Transformer; empty if there is
    none.
    """
    found = read_json(folder / BODY_FILE)
    return found if isinstance(found, dict) else {}


def body_length(folder: Path) -> int | None:
    """`max_seq_length` in sentence_bert_config.json: maximum tokens per pair; None if not set."""
    told = read_body(folder).get("max_seq_length")
    return told if isinstance(told, int) and told is not True and told > 0 else None


def default_prompt(folder: Path) -> str | None:
    """The default prompt in `config_sentence_transformers.json`, or None.

    It is put before each query, or is the instruction of a chat template.
    """
    found = read_json(folder / SETTINGS_FILE)
    if not isinstance(found, dict) or not isinstance(found.get("prompts"), dict):
        return None
    prompt = found["prompts"].get(str(found.get("default_prompt_name")))
    return prompt if isinstance(prompt, str) and prompt.strip() else None


def lists_messages(folder: Path) -> bool:
    """Whether `modality_config` in sentence_bert_config.json lists `message`."""
    kinds = read_body(folder).get("modality_config")
    return isinstance(kinds, dict) and "message" in kinds


def takes_messages(folder: Path) -> bool:
    """Whether sentence-transformers applies a chat template to a pair: `modality_config` lists
    `message`, or there is no `modality_config` and the tokenizer has a chat template.
    """
    if isinstance(read_body(folder).get("modality_config"), dict):
        return lists_messages(folder)
    tokenizer = read_json(folder / "tokenizer_config.json")
    written = isinstance(tokenizer, dict) and bool(tokenizer.get("chat_template"))
    return written or (folder / CHAT_TEMPLATE_FILE).exists()


def read_json(path: Path) -> Any:
    """Content of a JSON file; None if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
