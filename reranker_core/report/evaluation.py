"""How well an output ranks, before and after reranking, against judgements of relevance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reranker_core.errors import ConfigError, brief
from reranker_core.report.candidates import Query
from reranker_core.report.judgements import Judgements

MEASURES = ("nDCG@10", "RR@10", "AP", "R@100")
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """The mean of a measure over queries, for the first stage and for the reranker.

    Attributes:
        low, high: 95 % confidence interval of the difference (paired t-test).
        p: probability of a difference as large if there were none; NaN for less than two queries.

    """

    measure: str
    queries: int
    before: float
    after: float
    low: float
    high: float
    p: float

    @property
    def difference(self) -> float:
        """What reranking changed."""
        return self.after - self.before


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        judged: queries that have judgements.
        absent: of these, queries without candidates in the output. They count as 0.
        comparisons: one for each measure, over all judged queries.
        groups: the comparisons of each group of queries.
        worst: query id and difference of the first measure, largest loss first.

    """

    judged: int
    absent: int
    comparisons: tuple[Comparison, ...]
    groups: Mapping[str, tuple[Comparison, ...]]
    worst: tuple[tuple[str, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def judgements_of(queries: Mapping[str, Query]) -> Judgements:
    """Judgements from a label column; queries without a relevant candidate are left out."""
    # Of equal ids, the first one counts, as it does for scores.
    found = {
        name: dict(zip(query.documents[::-1], query.labels[::-1], strict=True))
        for name, query in queries.items()
    }
    return {name: labels for name, labels in found.items() if max(labels.values(), default=0) > 0}


def evaluate(
    queries: Mapping[str, Query],
    judgements: Judgements,
    measures: Sequence[str] = MEASURES,
    worst: int = 10,
) -> Evaluation:
    """Compare the order of the first stage with that of the reranker.

    Measures are computed by ir-measures (pytrec_eval, so the definitions are those of trec_eval:
    equal scores are ordered by document id). A candidate without a score comes last.

    Args:
        queries: the candidates of each query.
        judgements: relevance; judged queries without candidates count as 0.
        measures: in the names of ir-measures.
        worst: how many queries to name.

    Raises:
        ConfigError: a measure is unknown, or no judged query has candidates.

    """
    parsed = _parsed(measures)
    names = list(judgements)
    if not names:
        raise ConfigError(
            "no query has a candidate with a label above 0, so nothing can be measured"
        )
    present = [name for name in names if name in queries]
    if not present:
        raise ConfigError(
            f"none of the {len(names):,} judged queries has candidates in the output. Check that "
            "both use the same query ids"
        )
    before, after = (
        _values(parsed, judgements, {name: _run(queries[name], which) for name in present})
        for which in ("first", "scores")
    )
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        if name in queries and queries[name].group:
            rows_of[queries[name].group].append(row)
    change = after[0] - before[0]
    order = np.argsort(change, kind="stable")[:worst].tolist()
    return Evaluation(
        len(names),
        len(names) - len(present),
        _compared(measures, before, after),
        {
            group: _compared(measures, before[:, rows], after[:, rows])
            for group, rows in sorted(rows_of.items())
        },
        tuple((names[row], float(change[row])) for row in order if change[row] < 0),
    )


def require_packages() -> None:
    """Import what `evaluate` needs.

    Raises:
        ConfigError: a package is not installed.

    """
    try:
        import ir_measures  # noqa: F401
        import scipy.stats  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"evaluate needs the package {error.name}. Install it with: "
            "pip install ir-measures scipy"
        ) from None


def _parsed(measures: Sequence[str]) -> list[Any]:
    require_packages()
    import ir_measures

    found = []
    for name in measures:
        try:
            found.append(ir_measures.parse_measure(name))
        except (NameError, ValueError, TypeError) as error:
            raise ConfigError(
                f"--measure {name}: not a measure of ir-measures ({brief(error)}); examples are "
                f"{', '.join(MEASURES)}"
            ) from None
    return found


def _run(query: Query, which: str) -> dict[str, float]:
    """Document id → score. The first of equal ids counts."""
    scores = np.asarray(getattr(query, which), np.float64)
    known = np.isfinite(scores)
    last = scores[known].min(initial=0.0)
    # Candidates without a score keep their order, behind all others, also in the float32 of
    # trec_eval.
    step = max(1.0, 2 * float(np.spacing(np.float32(abs(last)))))
    scores = np.where(known, scores, last - step * (1 + np.arange(len(scores))))
    run: dict[str, float] = {}
    for document, score in zip(query.documents, scores.tolist(), strict=True):
        run.setdefault(document, score)
    return run


def _values(
    measures: Sequence[Any], judgements: Judgements, run: Mapping[str, Mapping[str, float]]
) -> npt.NDArray[np.float64]:
    """Each measure of each judged query, shape (measures, queries)."""
    import ir_measures

    row = {measure: index for index, measure in enumerate(measures)}
    column = {name: index for index, name in enumerate(judgements)}
    found = np.zeros((len(row), len(column)))
    for value in ir_measures.iter_calc(list(row), judgements, run):
        found[row[value.measure], column[value.query_id]] = value.value
    return found


def _compared(
    measures: Sequence[str], before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
) -> tuple[Comparison, ...]:
    """Means over queries, and a paired test; both arrays have shape (measures, queries)."""
    from scipy.stats import ttest_rel

    found = []
    for name, old, new in zip(measures, before, after, strict=True):
        low = high = p = float("nan")
        if len(old) > 1 and np.ptp(new - old) > 0:
            test = ttest_rel(new, old)
            low, high = map(float, test.confidence_interval(_CONFIDENCE))
            p = float(test.pvalue)
        found.append(Comparison(name, len(old), float(old.mean()), float(new.mean()), low, high, p))
    return tuple(found)
