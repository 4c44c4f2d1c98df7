"""Comparing an output with an earlier one: scores, order, pairs, and mixes.

Queries are sampled by a hash of their ids, the same ones in both outputs, so memory and time are
bounded by the sample and by two scans of the id and score columns. Of few queries with many
candidates, pairs are sampled instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reranker_core.errors import Incomplete
from reranker_core.output.differences import differences
from reranker_core.report.drift import Drift
from reranker_core.report.mixes import mixes
from reranker_core.report.scored_pairs import HASHES, Columns, fraction_limit, scored_pairs
from reranker_core.report.shift import shift
from reranker_core.storage.database import database, row_of
from reranker_core.storage.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SAMPLE = 250_000  # pairs of each output
_LEAST_QUERIES = 30  # of a sample; of fewer queries, pairs are sampled
_MOST = 4  # times the sample
CHANGED = 0.01  # of the span: a pair whose score moved further has changed
_DEPTH = 10
_MOVERS = 10
_SHOWN_CHANGES = 20
# A shard is odd if its order agrees less than that of the others by this, and by so many errors.
_ODD, _ERRORS = 0.1, 4.0


def compare(
    earlier: Store,
    later: Store,
    runs: tuple[dict[str, Any], dict[str, Any]],
    manifests: tuple[dict[str, Any], dict[str, Any]],
    sample: int = _SAMPLE,
) -> Drift:
    """Compare two outputs.

    Args:
        earlier: one output.
        later: the other one.
        runs: their identities.
        manifests: the earlier one's manifest, and the facts of the later one.
        sample: pairs of each to compare; about.

    Raises:
        ConfigError: a column is not in an output.
        Incomplete: data files of an output are missing or damaged.

    """
    fraction = min(1.0, sample / max(*(each.get("pairs") or 1 for each in manifests), 1))
    with database("report.against", Incomplete) as connection:
        outputs = list(zip((earlier, later), runs, strict=True))
        limit = fraction_limit(fraction)
        by_pair = fraction < 1 and _is_uneven(connection, outputs, limit, sample)
        chosen = f"WHERE hash(query, document) < {limit}" if by_pair else ""
        limit = HASHES if by_pair else limit
        types = []
        for name, (store, run) in zip(("a", "b"), outputs, strict=True):
            relation = scored_pairs(connection, store, Columns.of_run(run), limit)
            types.append(relation.types)
            connection.execute(
                f"CREATE TEMP TABLE {name} AS SELECT query, document, max(score) AS score, "
                f"any_value(part) AS part FROM {relation.sql} {chosen} GROUP BY query, document"
            )
        connection.execute(
            "CREATE TEMP TABLE c AS SELECT query, document, a.score AS before, b.score AS after, "
            f"{_SHARD} AS shard FROM a JOIN b USING (query, document) "
            "WHERE isfinite(a.score) AND isfinite(b.score)"
        )
        scores = [_scores(connection, name) for name in ("a", "b")]
        moved = shift(scores[0][0], scores[1][0], scores[0][1], scores[1][1])
        span = moved.span if moved else 1.0
        counts = row_of(connection, _COUNTS.format(least=CHANGED * span))
        pairs_before, pairs_after, both, common, changed, all_queries = counts
        order = _order(connection)
        if by_pair:  # the best of a query may not be among them
            order |= {"overlap": None, "overlap_queries": 0}
        return Drift(
            against=earlier.url,
            sampled=fraction,
            by_pair=by_pair,
            all_queries=all_queries,
            pairs_before=pairs_before,
            pairs_after=pairs_after,
            common=common,
            gone=1 - both / max(pairs_before, 1),
            new=1 - both / max(pairs_after, 1),
            changed=changed / max(common, 1),
            distance=round(moved.distance, 6) if moved else None,
            noise=round(moved.noise, 6) if moved else None,
            span=round(moved.span, 6) if moved else None,
            quantiles={
                when: np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95)).round(6).tolist()
                for when, (values, _) in zip(("before", "after"), scores, strict=True)
                if len(values)
            },
            **order,
            movers=_movers(connection),
            mixes=mixes(connection, (earlier, later), runs, manifests, types, limit),
            settings=_settings(*runs),
            other_files=_other_files(*runs),
        )


_SHARD = "regexp_replace(b.part, '-[0-9]+-[0-9a-f]{12}$', '')"
_COUNTS = """
SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b),
       (SELECT count(*) FROM a JOIN b USING (query, document)),
       (SELECT count(*) FROM c), (SELECT count(*) FROM c WHERE abs(after - before) > {least}),
       (SELECT count(*) FROM (SELECT query FROM a UNION SELECT query FROM b))
"""
# Equal scores get the mean of their ranks.
_BY_QUERY = f"""
CREATE TEMP TABLE o AS
SELECT query, any_value(shard) AS shard, count(*) AS n, corr(x, y) AS correlation,
       count(*) FILTER (WHERE p <= {_DEPTH} AND q <= {_DEPTH}) / {_DEPTH} AS overlap
FROM (
    SELECT query, shard,
           rank() OVER (PARTITION BY query ORDER BY before)
             + (count(*) OVER (PARTITION BY query, before) - 1) / 2 AS x,
           rank() OVER (PARTITION BY query ORDER BY after)
             + (count(*) OVER (PARTITION BY query, after) - 1) / 2 AS y,
           row_number() OVER (PARTITION BY query ORDER BY before DESC, document) AS p,
           row_number() OVER (PARTITION BY query ORDER BY after DESC, document) AS q
    FROM c
)
GROUP BY query HAVING count(*) > 1
"""


def _is_uneven(
    connection: DuckDBPyConnection,
    outputs: list[tuple[Store, dict[str, Any]]],
    limit: int,
    sample: int,
) -> bool:
    """Whether whole queries make no good sample: there are few of them, or they have many pairs."""
    for store, run in outputs:
        relation = scored_pairs(connection, store, Columns.of_run(run), limit)
        pairs, queries = row_of(
            connection, f"SELECT count(*), count(DISTINCT query) FROM {relation.sql}"
        )
        if queries < _LEAST_QUERIES or pairs > _MOST * sample:
            return True
    return False


def _scores(connection: DuckDBPyConnection, name: str) -> tuple[Any, Any]:
    found = connection.execute(
        f"SELECT score, hash(query) AS query FROM {name} WHERE isfinite(score)"
    ).fetchnumpy()
    return np.asarray(found["score"], np.float64), np.asarray(found["query"], np.uint64)


def _order(connection: DuckDBPyConnection) -> dict[str, Any]:
    """Agreement of the orders of each query, and the shards where it is much lower."""
    connection.execute(_BY_QUERY)
    # Where all scores of a query are equal, there is no order to compare.
    queries, correlation = row_of(
        connection,
        "SELECT count(*), avg(correlation) FROM o WHERE isfinite(correlation)",
    )
    deep, overlap = row_of(connection, f"SELECT count(*), avg(overlap) FROM o WHERE n > {_DEPTH}")
    shards = connection.execute(
        "SELECT shard, avg(correlation), var_samp(correlation), count(*) "
        "FROM o WHERE isfinite(correlation) GROUP BY shard HAVING count(*) > 1 ORDER BY 2, 1"
    ).fetchall()
    middle = float(np.median([mean for _, mean, _, _ in shards])) if shards else 0.0
    # Few queries of a shard may agree by chance. So their variance is at least that of all shards.
    freedom = sum(number - 1 for *_, number in shards)
    usual = sum(variance * (number - 1) for _, _, variance, number in shards) / max(freedom, 1)
    odd = {
        shard: round(mean, 4)
        for shard, mean, variance, number in shards[:_MOVERS]
        if middle - mean > max(_ODD, _ERRORS * (max(variance, usual) / number) ** 0.5)
    }
    return {
        "queries": queries,
        "rank_correlation": correlation if correlation is None else round(correlation, 6),
        "overlap": overlap if overlap is None else round(overlap, 6),
        "overlap_queries": deep,
        "odd_shards": odd,
    }


def _movers(connection: DuckDBPyConnection) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT query, document, before, after FROM c WHERE before != after "
        f"ORDER BY abs(after - before) DESC, query, document LIMIT {_MOVERS}"
    ).fetchall()
    names = ("query_id", "doc_id", "before", "after")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _other_files(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Kinds of model files whose digests differ."""
    old, new = (run["fingerprint"].get("model") or {} for run in (before, now))
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _settings(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Differences between two identities; shards are counted."""
    found = differences(before, now)
    shards = [one for one in found if one.kind in ("shard", "snapshot")]
    lines = [str(one) for one in found if one not in shards][:_SHOWN_CHANGES]
    if shards:
        lines.append(f"shards: {len(shards):,} new, removed or changed")
    return lines
