"""The earlier output that a new one is compared with."""

from __future__ import annotations

import logging
from datetime import datetime

from reranker_core.config import Config
from reranker_core.errors import ConfigError
from reranker_core.output.attempts import read_attempts
from reranker_core.output.identity import RUN_FILE
from reranker_core.output.manifest import SUCCESS
from reranker_core.output.siblings import begun_at, complete_siblings, is_complete
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
        found = earlier_sibling(store)
        if found is None:
            log.info("report.against=auto: no earlier complete output beside %s", store.shown)
        return found
    other = Store(against)
    if other.url == store.url:
        raise ConfigError(f"report.against={against} is output.path itself; name another output")
    if not other.is_there():
        raise ConfigError(
            f"report.against={against}: there is no such folder. Name the folder of a complete "
            "run, or set report.against=null"
        )
    if not is_complete(other):
        raise ConfigError(
            f"report.against={against}: is not a complete output of batch-reranker (it needs "
            f"{RUN_FILE} and {SUCCESS}). Name the folder of a complete run, or set "
            "report.against=null"
        )
    return other


def earlier_sibling(store: Store) -> Store | None:
    """The complete output in the same folder that was begun last before this one, or None."""
    starts = [attempt.start for attempt in read_attempts(store)]
    for other in complete_siblings(store):
        if not starts or begun_at(other) < datetime.fromisoformat(min(starts)):
            return other
    return None
