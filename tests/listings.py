"""Files of any content, and what of them `input.path` names."""

from __future__ import annotations

import os
from pathlib import Path

from reranker_core.input.shards import ShardFile, list_shards
from tests.tables import config


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
    return folder


def listed(source: Path | str | list[Path], output: Path | str = "elsewhere") -> list[ShardFile]:
    return list(list_shards(config(source, output)))


def names(source: Path | str | list[Path]) -> list[str]:
    return [shard.name for shard in listed(source)]


def passed_over(source: Path | str) -> dict[str, int]:
    return list_shards(config(source, "elsewhere")).passed_over
