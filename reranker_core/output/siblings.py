"""Complete outputs in the same folder."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from reranker_core.errors import StoreRefused
from reranker_core.output.attempts import read_attempts
from reranker_core.output.identity import RUN_FILE
from reranker_core.output.manifest import SUCCESS
from reranker_core.storage.errors import patiently
from reranker_core.storage.filesystem import is_local
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)


def complete_siblings(store: Store) -> list[Store]:
    """The other complete outputs in the same folder, the one that was begun last first.

    When an output was finished says less: an old one may be run again, to raise a limit or so.
    """
    parent, _, own = store.url.rpartition("/")
    above, filesystem = store.root.rpartition("/")[0], store.filesystem
    if is_local(filesystem):
        above = above or "/"
    if not above:  # the output is a whole bucket
        return []
    filesystem.invalidate_cache()
    try:
        entries = patiently(lambda: filesystem.ls(above, detail=True), parent)
    except FileNotFoundError:
        return []
    names = [
        entry["name"].rstrip("/").rpartition("/")[2]
        for entry in entries
        if entry["type"] == "directory"
    ]

    def begun(name: str) -> tuple[datetime, str] | None:
        other = Store(f"{parent}/{name}")
        try:
            if is_complete(other):
                return begun_at(other), name
        except FileNotFoundError:  # begun again at this moment
            pass
        except StoreRefused as refused:
            log.info("%s is skipped: %s", other.shown, refused)
        return None

    found = [each for each in in_parallel(begun, (n for n in names if n != own)) if each]
    return [Store(f"{parent}/{name}") for _, name in sorted(found, reverse=True)]


def begun_at(store: Store) -> datetime:
    """When the first driver of an output started; without a record of it, the time of `_SUCCESS`.

    Raises:
        FileNotFoundError: there is neither.

    """
    starts = [attempt.start for attempt in read_attempts(store)]
    if starts:
        return datetime.fromisoformat(min(starts))
    path = store.path(SUCCESS)
    found: datetime = patiently(lambda: store.filesystem.modified(path), store.url)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def is_complete(store: Store) -> bool:
    """Whether the folder is an output with `_SUCCESS`."""
    return store.exists(SUCCESS) and store.exists(RUN_FILE)
