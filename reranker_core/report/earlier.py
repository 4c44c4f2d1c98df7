"""The earlier output that a new one is compared with."""

from __future__ import annotations

import logging

from reranker_core.config import Config
from reranker_core.errors import ConfigError
from reranker_core.output.identity import RUN_FILE
from reranker_core.output.manifest import SUCCESS
from reranker_core.output.siblings import complete_siblings, is_complete
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
    if not is_complete(other):
        raise ConfigError(
            f"report.against={against}: is not a complete output of batch-reranker (it needs "
            f"{RUN_FILE} and {SUCCESS}). Name the folder of a complete run, or set "
            "report.against=null"
        )
    return other


def newest_sibling(store: Store) -> Store | None:
    """The complete output in the same folder whose `_SUCCESS` is the newest; None without one."""
    return next(iter(complete_siblings(store)), None)
