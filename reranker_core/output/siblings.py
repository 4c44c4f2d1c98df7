"""Complete outputs in the same folder."""

from __future__ import annotations

from datetime import datetime

from reranker_core.output.identity import RUN_FILE
from reranker_core.output.manifest import SUCCESS
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store


def complete_siblings(store: Store) -> list[Store]:
    """The other complete outputs in the same folder, that with the newest `_SUCCESS` first."""
    parent, _, own = store.url.rpartition("/")
    filesystem = store.filesystem
    filesystem.invalidate_cache()
    try:
        entries = filesystem.ls(store.root.rpartition("/")[0], detail=True)
    except FileNotFoundError:
        return []
    names = [
        entry["name"].rstrip("/").rpartition("/")[2]
        for entry in entries
        if entry["type"] == "directory"
    ]

    def finished(name: str) -> tuple[datetime, str] | None:
        other = Store(f"{parent}/{name}")
        if not is_complete(other):
            return None
        return filesystem.modified(other.path(SUCCESS)), name

    found = [each for each in in_parallel(finished, (n for n in names if n != own)) if each]
    return [Store(f"{parent}/{name}") for _, name in sorted(found, reverse=True)]


def is_complete(store: Store) -> bool:
    """Whether the folder is an output with `_SUCCESS`."""
    return store.exists(SUCCESS) and store.exists(RUN_FILE)
