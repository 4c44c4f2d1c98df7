"""The judgement on scores at the end of a run: drift, quality, and the limits on them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reranker_core.config import Config
from reranker_core.errors import ConfigError, RerankError
from reranker_core.errors.redaction import without_credentials
from reranker_core.input.schema import InputSchema
from reranker_core.output.identity import require_recorded
from reranker_core.output.manifest import recorded_manifest
from reranker_core.report.comparing import compare
from reranker_core.report.earlier import AUTO, earlier_output
from reranker_core.report.evaluation import require_packages
from reranker_core.report.judgements import read_judgements
from reranker_core.report.quality import below, quality
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)


def assess(
    store: Store, run: dict[str, Any], config: Config, facts: dict[str, Any]
) -> dict[str, Any]:
    """What the manifest tells of drift and quality: `drift`, `quality`, `exceeded` limits, and what
    is `missing`, one sentence each.

    If a measurement fails that no limit depends on, it is missing, and the run goes on.

    Args:
        store: the output, with all parts committed.
        run: its identity.
        config: for `report` and `guard`.
        facts: the manifest so far.

    Raises:
        RerankError: a comparison fails, and a limit depends on it.

    """
    guard = config.guard
    missing: list[str] = []
    found: dict[str, Any] = {"exceeded": [], "missing": missing}
    limited = guard.max_drift is not None or guard.min_rank_correlation is not None
    with _required(limited, missing):
        earlier = earlier_output(config)
        old = recorded_manifest(earlier) if earlier is not None else {}
        if earlier is None and limited:
            missing.append("the limits on drift were not checked: there is no earlier output")
        if earlier is not None and facts.get("pairs") and old.get("pairs") != 0:
            log.info("comparing the scores with those of %s", earlier.shown)
            runs = (require_recorded(earlier), run)
            drift = compare(earlier, store, runs, (old, facts))
            found["drift"] = without_credentials(drift.as_dict())
            found["exceeded"] += without_credentials(drift.exceeds(guard))
            missing += drift.unchecked(guard)
    with _required(guard.min_quality is not None, missing):
        evaluated = quality(store, run, config)
        if evaluated is not None:
            found["quality"] = evaluated
            found["exceeded"] += below(evaluated, config)
    return found


def require_assessable(config: Config, schema: InputSchema) -> None:
    """Look for what `assess` will need, before anything is scored.

    Raises:
        ConfigError: `report.against` is no complete output, a package is missing, or a column that
            `report` names will not be in the output.
        InputError: the judgements cannot be read.

    """
    report = config.report
    if report.against != AUTO:
        earlier_output(config)
    if report.qrels is not None or report.label is not None:
        require_packages()
    if report.qrels is not None:
        read_judgements(report.qrels)
    for key, column in (("label", report.label), ("first_stage", report.first_stage)):
        if column is not None and not {column, column.partition(".")[0]} & set(schema.carried):
            raise ConfigError(
                f"report.{key}={column}: the output will not have this column; of the input, it "
                f"will have {', '.join(schema.carried)}. Choose one of these; output.passthrough "
                "sets which input columns are copied"
            )


@contextmanager
def _required(is_required: bool, missing: list[str]) -> Iterator[None]:
    try:
        yield
    except RerankError as error:
        if is_required:
            raise
        log.warning("missing in the report: %s", error)
        missing.append(without_credentials(str(error)))
