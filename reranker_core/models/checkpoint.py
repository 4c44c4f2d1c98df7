"""A model folder: where it is, what it says of itself, and digests of what it holds."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError, brief
from reranker_core.models.hub import download
from reranker_core.models.modules import BODY_FILE, LIST_FILE, Module, read_json, read_modules
from reranker_core.models.native import native_settings
from reranker_core.models.weight_names import tensor_names

_DIGEST_CHUNK = 1 << 22
VOCABULARY_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
_TOKENIZER_FILES = (
    *VOCABULARY_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)
_WANTED = ["*.json", "*.txt", "*.jinja", "*.model", "*.py", "*.safetensors"]
_PICKLES = "pytorch_model*.bin*"
# Classes that transformers does not know, and `models/` computes without their code.
_BUILT_HERE = ("LayerWiseMiniCPMForCausalLM", "CostWiseGemmaForCausalLM")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Checkpoint:
    """A local model folder.

    Attributes:
        folder: where the files are on this machine.
        source: `model.path` as configured.
        revision: the hub commit, or None for a folder.
        config: config.json; empty where it cannot be read.
        weights: the weight files that would be loaded; those of an index may be absent.
        indexed: the tensors that an index expects in each weight file, by its name.
        config_problem: why `config` is empty, or ''.
        is_native: whether the file names code of its own, and `config` is in the words of a class
            of transformers' that computes the same.

    """

    folder: Path
    source: str
    revision: str | None
    config: dict[str, Any]
    weights: tuple[Path, ...]
    indexed: dict[str, set[str]] = field(default_factory=dict)
    config_problem: str = ""
    is_native: bool = False

    @property
    def pinned_path(self) -> str:
        """What `model.path` is for workers: an absolute folder, or the hub id."""
        return self.source if self.revision else str(self.folder.resolve())

    @property
    def architecture(self) -> str:
        """The class that wrote the checkpoint, by its own word, or ''."""
        return str((self.config.get("architectures") or [""])[0])

    @property
    def needs_remote_code(self) -> bool:
        """Whether only code that lies in the checkpoint can build the model: its type or its class
        is none of transformers'. A class of its own under a known type loads there as another one.
        """
        import transformers
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

        if self.architecture in _BUILT_HERE:
            return False
        known = self.config.get("model_type") in CONFIG_MAPPING_NAMES
        return self.names_own_code and not (known and hasattr(transformers, self.architecture))

    @property
    def has_head_in_modules(self) -> bool:
        """Whether the score is made by modules behind the model that config.json describes."""
        return any(module.makes_scores for module in self.modules)

    @property
    def _module_files(self) -> list[Path]:
        lists = [self.folder / name for name in (LIST_FILE, BODY_FILE)]
        settings = [self.folder / m.path / "config.json" for m in self.modules if m.path]
        weights = [module.weights for module in self.modules if module.weights is not None]
        return [path for path in (*lists, *settings) if path.exists()] + weights

    @property
    def names_own_code(self) -> bool:
        """Whether config.json names code, and no class here or in transformers is known to compute
        the same.
        """
        return bool(self.config.get("auto_map"))

    @property
    def foreign_code(self) -> list[str]:
        """Other repositories whose code config.json or the tokenizer's settings name."""
        settings = [self.config, read_json(self.folder / "tokenizer_config.json") or {}]
        maps = [found.get("auto_map") for found in settings if isinstance(found, dict)]
        text = json.dumps(maps)
        return sorted(set(re.findall(r'"([^"]+)--', text)))

    @property
    def digest(self) -> str:
        """One short name for everything in the folder that changes a score."""
        whole = json.dumps(self.digests, sort_keys=True).encode()
        return f"sha256:{hashlib.sha256(whole).hexdigest()[:32]}"

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """What sentence-transformers makes the model of; none where it did not save it."""
        return read_modules(self.folder)

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the weights, the tokenizer's files, config.json, code of its own, and the
        modules of a head.
        """
        tokenizer = [self.folder / name for name in _TOKENIZER_FILES]
        return {
            "weights": _digest(self.weights),
            "tokenizer": _digest([path for path in tokenizer if path.exists()]),
            "config": _digest([self.folder / "config.json"]),
            **({"code": _digest(sorted(self.folder.glob("*.py")))} if self.names_own_code else {}),
            **({"modules": _digest(self._module_files)} if self.has_head_in_modules else {}),
        }


def open_checkpoint(model: ModelConfig) -> Checkpoint:
    """Find the model folder, fetching a hub id into the local hub cache.

    Raises:
        ConfigError: there is no such folder or hub id, or its index of weights is damaged.

    """
    folder, revision = Path(model.path).expanduser(), None
    _refuse_files_and_pages(model.path, folder)
    if not folder.is_dir():
        folder = _fetch(model)
        revision = folder.name
    weights, indexed = _weight_files(folder)
    config, problem = _read_config(folder)
    native = _native(config, weights, model)
    return Checkpoint(
        folder,
        model.path,
        revision,
        config if native is None else native,
        weights,
        indexed,
        problem,
        native is not None,
    )


def _native(
    config: dict[str, Any], weights: tuple[Path, ...], model: ModelConfig
) -> dict[str, Any] | None:
    """The settings in the words of transformers' own class, where it replaces own code."""
    if not config.get("auto_map"):
        return None
    try:
        return native_settings(config, tensor_names(weights))
    except ConfigError:
        if model.trust_remote_code:
            return None  # so the code itself may run
        raise


def _refuse_files_and_pages(path: str, folder: Path) -> None:
    page = re.match(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([^/]+/[^/?#]+)", path)
    if page:
        raise ConfigError(
            f"model.path={path}: is the address of a web page. Write {page[1]} instead"
        )
    if folder.is_file():
        raise ConfigError(
            f"model.path={path}: is a file. Set it to the folder with config.json, weights and "
            f"tokenizer: {folder.resolve().parent}"
        )


def _read_config(folder: Path) -> tuple[dict[str, Any], str]:
    """The settings, or none and why."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, "there is no config.json"
    except (ValueError, OSError) as error:
        return {}, f"config.json cannot be read: {brief(error)}"
    if not isinstance(config, dict) or not config:
        return {}, f"config.json holds a {type(config).__name__}; expected a mapping of settings"
    return config, ""


def _weight_files(folder: Path) -> tuple[tuple[Path, ...], dict[str, set[str]]]:
    """The files that transformers would load, in its order of preference, and what an index says
    that they hold.
    """
    for name in _WEIGHTS:
        if (folder / name).exists():
            return (folder / name,), {}
        index = folder / f"{name}.index.json"
        if index.exists():
            tensors: dict[str, set[str]] = {}
            try:
                for tensor, file in json.loads(index.read_text(encoding="utf-8"))[
                    "weight_map"
                ].items():
                    tensors.setdefault(str(file), set()).add(tensor)
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise ConfigError(
                    f"{index}: is not an index of weight files ({brief(error)}). Copy it again"
                ) from None
            return tuple(folder / file for file in sorted(tensors)), tensors
    return (), {}


def _fetch(model: ModelConfig) -> Path:
    if model.path.startswith((".", "/", "~")) or "://" in model.path:
        raise ConfigError(
            f"model.path={model.path}: there is no such folder on this machine. Set it to a "
            "folder that all nodes can read, or to a hub id"
        )
    wanted = [*_WANTED, _PICKLES] if model.allow_pickle else _WANTED
    return download(model.path, model.revision, wanted)


def _digest(paths: list[Path] | tuple[Path, ...]) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{path.name}\0".encode())
        try:
            with open(path, "rb") as file:
                while chunk := file.read(_DIGEST_CHUNK):
                    total.update(chunk)
        except FileNotFoundError:
            total.update(b"absent\0")  # preflight names it
    return total.hexdigest()
