"""The earlier output that a new one is compared with."""

from __future__ import annotations

import logging
from datetime import datetime

from reranker_core.config import Config
from reranker_core.errors import ConfigError
from reranker_core.output.identity import RUN_FILE
from reranker_core.output.manifest import SUCCESS
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)

AUTO = "auto"


def earlier_output(config: Config) -> Store | None:
    """The output that `report.against` names, or None.

    Raises:
        ConfigError: it is not a complete output.

    """
    against = config.report.against
    store = Store(config.output.path)
    if against is None:
        return None
    if against == AUTO:
        found = newest_sibling(store)
        if found is None:
            log.info("report.against=auto: no complete output beside %s", store.url)
        return found
    other = Store(against)
    if other.url == store.url:
        raise ConfigError(f"report.against={against} is output.path itself; name another output")
    if not _is_complete(other):
        raise ConfigError(
            f"report.against={against}: is not a complete output of batch-reranker (it needs "
            f"{RUN_FILE} and {SUCCESS}). Name the folder of a complete run, or set "
            "report.against=null"
        )
    return other


def newest_sibling(store: Store) -> Store | None:
    """The complete output in the same folder whose `_SUCCESS` is the newest; None without one."""
    return next(iter(complete_siblings(store)), None)


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
        if not _is_complete(other):
            return None
        return filesystem.modified(other.path(SUCCESS)), name

    found = [each for each in in_parallel(finished, (n for n in names if n != own)) if each]
    return [Store(f"{parent}/{name}") for _, name in sorted(found, reverse=True)]


def _is_complete(store: Store) -> bool:
    return store.exists(SUCCESS) and store.exists(RUN_FILE)
