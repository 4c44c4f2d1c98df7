"""Where a model is: a folder on this machine, a URL, or the id of a model on a hub."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError
from reranker_core.models import hub
from reranker_core.storage import local_copy

_WANTED = ["*.json", "*.txt", "*.jinja", "*.model", "*.py", "*.safetensors"]
_SHOWN = 4
PICKLES = ("pytorch_model*.bin*", "*/pytorch_model*.bin*", "adapter_model.bin")


def fetched(model: ModelConfig) -> tuple[Path, str | None]:
    """The folder of `model.path` on this machine, and its commit on the hub, or None.

    Raises:
        ConfigError: there is no such folder, URL or hub id.
        Incomplete: the hub or the store does not answer.

    """
    folder = Path(model.path).expanduser()
    _refuse_files_and_pages(model.path, folder)
    if folder.is_dir():
        return folder, None
    folder = _fetch(model)
    return folder, None if is_url(model.path) else folder.name


def named_place(base: str) -> dict[str, str]:
    """`model.path`, and `model.revision` if the name of a base ends in one: `owner/name@commit`."""
    path, _, commit = base.rpartition("@")
    is_hub_id = re.fullmatch(r"[\w.-]+/[\w.-]+", path) is not None
    if is_hub_id and not Path(base).is_dir():
        return {"path": path, "revision": commit}
    return {"path": base}


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


def is_url(path: str) -> bool:
    """Whether a model is in a store."""
    return "://" in path


def _fetch(model: ModelConfig) -> Path:
    wanted = [*_WANTED, *PICKLES] if model.allow_pickle else _WANTED
    if is_url(model.path):
        return local_copy.local_copy(model.path, wanted)
    beside = _beside(Path(model.path).expanduser())
    if model.path.startswith((".", "/", "~")):
        raise ConfigError(
            f"model.path={model.path}: there is no such folder on this machine. "
            f"{beside and f'{beside}. '}Set it to a "
            "folder that all nodes can read, to a URL such as s3://…, or to a hub id"
        )
    return hub.download(model.path, model.revision, wanted, beside)


def _beside(missing: Path) -> str:
    """What the folder above a missing one contains, if it exists."""
    above = missing.parent
    if not above.is_dir():
        return ""
    names = sorted(path.name for path in above.iterdir() if path.is_dir())
    shown = difflib.get_close_matches(missing.name, names, n=_SHOWN)
    if above != Path():  # `name` alone is rather meant for a hub than for this folder
        shown += [name for name in names if name not in shown]
    if not shown:
        return ""
    more = ", …" if len(shown) > _SHOWN else ""
    return f"{above.resolve()} contains {', '.join(shown[:_SHOWN])}{more}"
