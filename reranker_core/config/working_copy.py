"""Paths of a job that runs in Ray's copy of a working directory.

`ray job submit --working-dir .` copies the folder to each node, starts the job in the copy, and may
delete the copy after the job. There, a relative path means a folder in the copy, so results would
be lost. The job cannot know the original folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from reranker_core.config.keys import Config
from reranker_core.errors import ConfigError

# ray/_private/runtime_env/working_dir.py: SESSION/runtime_resources/working_dir_files/PACKAGE
_COPIES = ("runtime_resources", "working_dir_files")


def refuse_paths_in_copy(config: Config, unused: Collection[str] = ()) -> None:
    """As `refuse_in_copy`, for the paths of a configuration, without those of `unused` keys."""
    refuse_in_copy((f"{key}={value}", value) for key, value in _paths(config) if key not in unused)


def refuse_in_copy(given: Iterable[tuple[str, str]]) -> None:
    """Refuse paths that lie in the copy that this process runs in, if it runs in one.

    Args:
        given: each path, after what the user typed for it.

    Raises:
        ConfigError: a path is in the copy; the message lists what was typed, and the remedy.

    """
    copy = ray_copy(Path.cwd())
    if copy is None:
        return
    wrong = [f"  {typed}" for typed, path in given if _lies_in(path, copy)]
    if wrong:
        raise ConfigError(
            "\n".join(
                [
                    "these paths are relative to Ray's temporary copy of the submitted working "
                    f"directory, {copy}, which Ray may delete:",
                    *wrong,
                    "Write absolute paths on a disk that all nodes share, or URLs. The folder that "
                    "was submitted is not known here; --working-dir takes code only",
                ]
            )
        )


def ray_copy(folder: Path) -> Path | None:
    """The copy of a working directory that `folder` lies in, or is."""
    for candidate in (folder, *folder.parents):
        if candidate.parts[-3:-1] == _COPIES:
            return candidate
    return None


def _paths(config: Config) -> Iterator[tuple[str, str]]:
    given = config.input.path
    for entry in [given] if isinstance(given, str) else given:
        yield "input.path", entry
    yield "output.path", config.output.path
    # What is no folder is an id on a hub.
    model = config.model.path
    if model.startswith((".", "/", "~")) or os.path.exists(model):
        yield "model.path", model
    for key in ("canaries", "golden"):
        value = getattr(config.preflight, key)
        if value is not None:
            yield f"preflight.{key}", value
    for source in config.reuse.sources:
        if source != "auto":
            yield "reuse.from", source
    report = config.report
    for key, value in (("against", report.against), ("qrels", report.qrels)):
        if value not in (None, "auto"):
            yield f"report.{key}", str(value)


def _lies_in(value: str, copy: Path) -> bool:
    # The last link of a chain such as zip://a.parquet::pairs.zip is what lies on a disk.
    last = value.rpartition("::")[2] if "://" in value else value
    path = re.sub("^(file|local)://(localhost(?=/))?", "", last)
    if "://" in path:
        return False
    absolute = os.path.abspath(os.path.expanduser(path))
    return Path(absolute).is_relative_to(copy) or Path(absolute).is_relative_to(copy.resolve())
