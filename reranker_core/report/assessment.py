"""The judgement on scores at the end of a run: drift, quality, and the limits on them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reranker_core.config import Config
from reranker_core.errors import RerankError
from reranker_core.output.identity import require_recorded
from reranker_core.output.manifest import recorded_manifest
from reranker_core.report.drift import compare
from reranker_core.report.earlier import earlier_output
from reranker_core.report.quality import below, quality
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)


def assess(
    store: Store, run: dict[str, Any], config: Config, facts: dict[str, Any]
) -> dict[str, Any]:
    """What the manifest tells of drift and quality: `drift`, `quality`, and `exceeded` limits.

    If a measurement fails that no limit depends on, this is logged, and the run goes on.

    Args:
        store: the output, with all parts committed.
        run: its identity.
        config: for `report` and `guard`.
        facts: the manifest so far.

    Raises:
        RerankError: a comparison fails, and a limit depends on it.

    """
    guard = config.guard
    found: dict[str, Any] = {"exceeded": []}
    with _required(guard.max_drift is not None or guard.min_rank_correlation is not None):
        earlier = earlier_output(config)
        old = recorded_manifest(earlier) if earlier is not None else {}
        if earlier is not None and facts.get("pairs") and old.get("pairs") != 0:
            log.info("comparing the scores with those of %s", earlier.url)
            runs = (require_recorded(earlier), run)
            drift = compare(earlier, store, runs, (old, facts))
            found["drift"] = drift.as_dict()
            found["exceeded"] += drift.exceeds(guard)
    with _required(guard.min_quality is not None):
        evaluated = quality(store, run, config)
        if evaluated is not None:
            found["quality"] = evaluated
            found["exceeded"] += below(evaluated, config)
    return found


@contextmanager
def _required(is_required: bool) -> Iterator[None]:
    try:
        yield
    except RerankError as error:
        if is_required:
            raise
        log.warning("missing in the report: %s", error)
