"""LoRA adapters as peft saves them: their files, and one folder for base and adapter together.

This folder has links to the files of both, and is then read like any checkpoint. If both have a
file (tokenizer, chat template, prompts), the adapter's is used. `adapted.py` adds the adapter to
the weights.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reranker_core.errors import ConfigError
from reranker_core.models.modules import read_json
from reranker_core.models.weight_names import tensor_shapes
from reranker_core.storage.local_copy import cache_folder

SETTINGS_FILE = "adapter_config.json"
WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_CONFIG = "config.json"
_WHOLE = ("model*.safetensors*", "pytorch_model*.bin*")  # weights of a whole model
_CLASSIFIES = "SEQ_CLS"  # peft's task_type
_HEADS = ("score.weight", "classifier.weight", "classifier.out_proj.weight")
_PREFIX = "base_model.model."
_PEFT_TYPE = "LORA"


@dataclass(frozen=True)
class Adapter:
    """An adapter's folder.

    Attributes:
        folder: the folder with adapter_config.json and the adapter's weights.
        settings: content of adapter_config.json; empty if it cannot be read.
        base: folder, URL or hub id of the model that it was trained from; '' if unknown.

    """

    folder: Path
    settings: dict[str, Any]
    base: str

    @property
    def files(self) -> list[Path]:
        """adapter_config.json and the weight file, those of them that exist."""
        named = [self.folder / SETTINGS_FILE, *(self.folder / name for name in WEIGHT_FILES)]
        return [path for path in named if path.exists()][:2]

    @property
    def weights(self) -> list[Path]:
        """The weight file, in a list; empty if it is missing."""
        return self.files[1:]

    @property
    def problem(self) -> str:
        """Why the adapter cannot be used with any base, or ''."""
        kind = self.settings.get("peft_type")
        if not self.settings:
            return f"{SETTINGS_FILE} cannot be read"
        if kind != _PEFT_TYPE:
            return f"peft_type is {kind}; only {_PEFT_TYPE} is supported"
        if not self.weights:
            return f"there is no {WEIGHT_FILES[0]}"
        return "" if self.base else f"{SETTINGS_FILE} names no base_model_name_or_path"

    def adapted(self, config: dict[str, Any]) -> dict[str, Any]:
        """config.json of base and adapter together, from that of the base (`config`).

        If the adapter has a classification head (`task_type` SEQ_CLS), the class becomes
        `…ForSequenceClassification`, with as many labels as the head has rows.
        """
        if self.settings.get("task_type") != _CLASSIFIES:
            return config
        name = str((config.get("architectures") or [""])[0])
        stem = re.sub(r"(For\w+|LMHeadModel|Model)$", "", name)
        found = config | {"architectures": [f"{stem}ForSequenceClassification"]}
        shapes = tensor_shapes(self.weights)
        rows = [shapes[_PREFIX + head][0] for head in _HEADS if _PREFIX + head in shapes]
        if rows and len(config.get("id2label") or ()) != rows[0]:
            labels = {str(i): f"LABEL_{i}" for i in range(rows[0])}
            found |= {"id2label": labels, "label2id": {name: int(i) for i, name in labels.items()}}
        return found


def read_adapter(folder: Path, base: str | None) -> Adapter | None:
    """The adapter in a folder; None if there is no adapter, or a whole model beside it.

    `base` is `model.base`; None: the base that adapter_config.json names.
    """
    whole = any(path for name in _WHOLE for path in folder.glob(name))
    if not (folder / SETTINGS_FILE).exists() or whole:
        return None
    found = read_json(folder / SETTINGS_FILE)
    settings = found if isinstance(found, dict) else {}
    return Adapter(folder, settings, base or str(settings.get("base_model_name_or_path") or ""))


def linked(base: Path, adapter: Adapter, config: dict[str, Any]) -> Path:
    """A folder with links to the files of base and adapter, and with the adapted config.json.

    `config` is config.json of the base. The folder is in the cache of this machine and is used
    again.

    Raises:
        ConfigError: the folder cannot be written.

    """
    links = {path.name: path.resolve() for path in sorted(base.iterdir())}
    links |= {
        path.name: path.resolve()
        for path in sorted(adapter.folder.iterdir())
        if path.is_file() and path.name not in (SETTINGS_FILE, *WEIGHT_FILES)
    }
    links.pop(_CONFIG, None)
    text = json.dumps(adapter.adapted(config), sort_keys=True, indent=1)
    state = json.dumps([text, *((name, str(path)) for name, path in sorted(links.items()))])
    folder = cache_folder("adapted") / hashlib.sha256(state.encode()).hexdigest()[:32]
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".made-"))
        for name, target in links.items():
            (made / name).symlink_to(target)
        (made / _CONFIG).write_text(text, encoding="utf-8")
        try:
            os.rename(made, folder)
        except OSError:  # another process was faster
            shutil.rmtree(made)
            if not folder.is_dir():
                raise
    except OSError as error:
        raise ConfigError(
            f"links to the files of {adapter.folder} and {base} cannot be written to "
            f"{folder.parent} ({error.strerror}). Set XDG_CACHE_HOME to a folder that can be "
            "written, on all nodes"
        ) from None
    return folder
