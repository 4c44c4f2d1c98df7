"""How well an output ranks by the judgements that its configuration names."""

from __future__ import annotations

import math
from typing import Any

from reranker_core.config import Config
from reranker_core.report.candidates import read_queries
from reranker_core.report.evaluation import MEASURES, evaluate, judgements_of
from reranker_core.report.judgements import read_judgements
from reranker_core.report.scored_pairs import Columns
from reranker_core.storage.store import Store

_QUERIES = 100_000  # with a label column: at most so many


def quality(store: Store, run: dict[str, Any], config: Config) -> dict[str, Any] | None:
    """The evaluation as plain data, with `share_of_queries`; None without judgements.

    Raises:
        ConfigError, InputError: the judgements or columns do not fit.

    """
    report = config.report
    if report.qrels is None and report.label is None:
        return None
    columns = Columns.of_run(run, first_stage=report.first_stage, label=report.label)
    judged = read_judgements(report.qrels) if report.qrels else None
    found, share = read_queries(store, columns, judged, 0 if judged else _QUERIES)
    result = evaluate(found, judged or judgements_of(found))
    return {"share_of_queries": share, **finite(result.as_dict())}


def below(found: dict[str, Any], config: Config) -> list[str]:
    """The sentence on `guard.min_quality`, if the quality is below it."""
    least = config.guard.min_quality
    (first, *_) = found["comparisons"]
    if least is None or first["after"] >= least:
        return []
    return [
        f"{MEASURES[0]} is {first['after']:.4f} over {first['queries']:,} judged queries, less "
        f"than guard.min_quality={least:g}."
    ]


def finite(value: Any) -> Any:
    """The value with None in place of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
