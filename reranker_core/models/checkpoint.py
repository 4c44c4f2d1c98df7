"""A model folder: where it is, what its files say, and the digests of its files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError
from reranker_core.models import hub
from reranker_core.models.adapter import Adapter, linked, read_adapter
from reranker_core.models.digests import digest_of, short_digest
from reranker_core.models.model_files import read_config, weight_files
from reranker_core.models.modules import (
    BODY_FILE,
    CHAT_TEMPLATE_FILE,
    LIST_FILE,
    SETTINGS_FILE,
    Module,
    default_prompt,
    read_json,
    read_modules,
)
from reranker_core.models.native import native_settings
from reranker_core.models.place import PICKLES, fetched, is_url, named_place
from reranker_core.models.weight_names import tensor_names
from reranker_core.storage import local_copy

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
SIDECAR = "reranker.json"  # how a language model was trained; preflight holds it against its use
# Classes that transformers does not know, and `models/` computes without their code.
BUILT_HERE = ("LayerWiseMiniCPMForCausalLM", "CostWiseGemmaForCausalLM")


@dataclass(frozen=True)
class Checkpoint:
    """A local model folder.

    Attributes:
        folder: where the files are on this machine.
        source: `model.path` as configured.
        revision: the commit on the hub; None for a folder.
        config: content of config.json; empty if it cannot be read.
        weights: the weight files to load. Files that an index lists may be missing on the disk.
        indexed: name of a weight file -> names of the tensors that an index expects in it.
        config_problem: why `config` is empty, or ''.
        is_native: True if config.json names code of the checkpoint, but a class of transformers
            computes the same. `config` then has the settings of that class.
        adapter: the LoRA adapter that is added to the weights, or None. With an adapter, `folder`
            has links to the files of the base and of the adapter.
        base: the checkpoint that the adapter was trained from; None if it cannot be opened.
        base_problem: why the base cannot be opened, or ''.

    """

    folder: Path
    source: str
    revision: str | None
    config: dict[str, Any]
    weights: tuple[Path, ...]
    indexed: dict[str, set[str]] = field(default_factory=dict)
    config_problem: str = ""
    is_native: bool = False
    adapter: Adapter | None = None
    base: Checkpoint | None = None
    base_problem: str = ""

    @property
    def pinned(self) -> dict[str, str | None]:
        """Values for `model.path`, `model.revision` and `model.base` that mean the same model in
        another working directory and at a later time: an absolute folder, a URL, or a hub id with
        its commit.
        """
        folder = self.folder if self.adapter is None else self.adapter.folder
        elsewhere = self.revision or is_url(self.source)
        found = {"path": self.source if elsewhere else str(folder.resolve())}
        if self.base is not None:
            place, commit = self.base.pinned["path"], self.base.revision
            found["base"] = f"{place}@{commit}" if commit else str(place)
        return {**found, "revision": self.revision}

    @property
    def architecture(self) -> str:
        """The first class name in `architectures` of config.json, or ''."""
        return str((self.config.get("architectures") or [""])[0])

    @property
    def needs_remote_code(self) -> bool:
        """Whether only Python code in the checkpoint can build the model, because transformers does
        not know its model type or its class. (Under a known type, transformers would load a class
        that it does not know as a different model.)
        """
        import transformers
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

        if self.architecture in BUILT_HERE:
            return False
        known = self.config.get("model_type") in CONFIG_MAPPING_NAMES
        return self.names_own_code and not (known and hasattr(transformers, self.architecture))

    @property
    def has_head_in_modules(self) -> bool:
        """Whether the head is in modules of sentence-transformers, after the model of
        config.json.
        """
        return any(module.makes_scores for module in self.modules)

    @property
    def _module_files(self) -> list[Path]:
        lists = [self.folder / name for name in (LIST_FILE, BODY_FILE)]
        settings = [self.folder / m.path / "config.json" for m in self.modules if m.path]
        weights = [module.weights for module in self.modules if module.weights is not None]
        return [path for path in (*lists, *settings) if path.exists()] + weights

    @property
    def _prompt_files(self) -> list[Path]:
        """The files that decide which prompt and answers are used, or that say which are right."""
        names = [SETTINGS_FILE] if default_prompt(self.folder) is not None else []
        if self.modules and self.modules[-1].kind == "LogitScore":
            settings = f"{self.modules[-1].path}/config.json"
            names = [LIST_FILE, BODY_FILE, SETTINGS_FILE, CHAT_TEMPLATE_FILE, settings]
        named = [self.folder / name for name in (*names, SIDECAR)]
        return [path for path in named if path.exists()]

    @property
    def names_own_code(self) -> bool:
        """Whether config.json names Python code, and neither this package nor transformers has a
        class that computes the same.
        """
        return bool(self.config.get("auto_map"))

    @property
    def _code(self) -> list[Path]:
        """The files of code that config.json or the tokenizer's settings name."""
        settings = read_json(self.folder / "tokenizer_config.json")
        named = self.names_own_code or (isinstance(settings, dict) and settings.get("auto_map"))
        return sorted(self.folder.glob("*.py")) if named else []

    @property
    def foreign_code(self) -> list[str]:
        """Other hub repositories from which config.json or tokenizer_config.json takes code."""
        settings = [self.config, read_json(self.folder / "tokenizer_config.json") or {}]
        maps = [found.get("auto_map") for found in settings if isinstance(found, dict)]
        text = json.dumps(maps)
        return sorted(set(re.findall(r'"([^"]+)--', text)))

    @property
    def digest(self) -> str:
        """`model.digest`: one digest of all files that can change a score."""
        return short_digest(self.digests)

    @cached_property
    def file_names(self) -> tuple[str, ...]:
        """Names of all files where the checkpoint comes from: on the hub or in the store also those
        that are not fetched; in a folder, those in it and in its folders.
        """
        found: tuple[str, ...] = ()
        folder = self.folder if self.adapter is None else self.adapter.folder
        if self.revision is not None:
            found = hub.file_names(self.source, self.revision)
        elif is_url(self.source):
            found = local_copy.file_names(self.source)
        inner = [path for pattern in ("*", "*/*") for path in folder.glob(pattern)]
        here = [path.relative_to(folder).as_posix() for path in inner if path.is_file()]
        return tuple(sorted({*found, *here}))

    @property
    def unfetched_pickles(self) -> list[str]:
        """Names of weight files that are not fetched without `model.allow_pickle`."""
        folder = self.folder if self.adapter is None else self.adapter.folder
        pickles = [n for n in self.file_names if any(fnmatch(n, pattern) for pattern in PICKLES)]
        return [name for name in pickles if not (folder / name).exists()]

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """The entries of modules.json; empty if sentence-transformers did not save the model."""
        return read_modules(self.folder)

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 by kind of file: `weights`, `tokenizer`, `config`, and where the checkpoint has
        them `code`, `modules`, `adapter` and `prompt`.
        """
        tokenizer = [self.folder / name for name in _TOKENIZER_FILES]
        code = self._code
        return {
            "weights": digest_of(self.weights),
            "tokenizer": digest_of([path for path in tokenizer if path.exists()]),
            "config": digest_of([self.folder / "config.json"]),
            **({"code": digest_of(code)} if self.names_own_code or code else {}),
            **({"modules": digest_of(self._module_files)} if self.has_head_in_modules else {}),
            **({"adapter": digest_of(self.adapter.files)} if self.adapter is not None else {}),
            **({"prompt": digest_of(self._prompt_files)} if self._prompt_files else {}),
        }


def open_checkpoint(model: ModelConfig, is_base: bool = False) -> Checkpoint:
    """Find or fetch the model folder, and read its settings.

    A hub id is downloaded to the local cache of the hub. The files of a URL are copied to this
    machine (`local_copy`). `is_base` is set for the base of an adapter, which must not be an
    adapter.

    Raises:
        ConfigError: there is no such folder, URL or hub id, or its index of weights is damaged.
        Incomplete: the hub or the store does not answer.

    """
    folder, revision = fetched(model)
    adapter = read_adapter(folder, model.base)
    if adapter is not None and is_base:
        raise ConfigError(f"{model.path} is an adapter, too; expected a whole model")
    if adapter is not None:
        return _adapted(adapter, model, revision)
    if model.base is not None:
        raise ConfigError(
            f"model.base={model.base} is set, but model.path={model.path} is not a LoRA adapter. "
            "Remove this key"
        )
    return _opened(folder, model, revision)


def _adapted(adapter: Adapter, model: ModelConfig, revision: str | None) -> Checkpoint:
    """The checkpoint that an adapter and its base make; the adapter alone where there is no base
    to be found.
    """
    problem = adapter.problem
    if not problem:
        told = {
            "revision": adapter.settings.get("revision"),
            **named_place(adapter.base),
            "base": None,
        }
        try:
            base = open_checkpoint(model.model_copy(update=told), is_base=True)
            whole = _opened(linked(base.folder, adapter, base.config), model, revision)
            return replace(whole, adapter=adapter, base=base)
        except ConfigError as error:
            problem = str(error)
    alone = Checkpoint(adapter.folder, model.path, revision, {}, ())
    return replace(alone, adapter=adapter, base_problem=problem)


def _opened(folder: Path, model: ModelConfig, revision: str | None) -> Checkpoint:
    config, problem = read_config(folder)
    weights, indexed = weight_files(folder, config)
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
