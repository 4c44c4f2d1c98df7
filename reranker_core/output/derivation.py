"""Output with other columns from the scores of another one, without the model.

It is what the job would have written with these `output.*` keys. Its parts may have other bounds
than those of the old one (`output.rank` moves them to the starts of queries).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from reranker_core.config import Config
from reranker_core.encode.part import carried_rows
from reranker_core.errors import ConfigError, Incomplete, rows_text
from reranker_core.input.columns import typed
from reranker_core.input.pairs import find_pairs
from reranker_core.input.plan import Part, Plan, make_plan
from reranker_core.input.schema import InputSchema
from reranker_core.output.attempts import read_attempts
from reranker_core.output.checksums import unchanged
from reranker_core.output.commit import open_data
from reranker_core.output.identity import (
    RUN_FILE,
    digest,
    fingerprint_for,
    identity,
    refuse_differences,
    require_recorded,
)
from reranker_core.output.inventory import take_inventory
from reranker_core.output.manifest import OVER_LIMITS, SUCCESS, recorded_manifest
from reranker_core.output.receipts import Receipt, read_receipts
from reranker_core.output.results import ScoredPart
from reranker_core.output.written import Written
from reranker_core.reuse.keys import PartKeys, day_of
from reranker_core.storage.store import Store

_COPIED = ("tokens_lost", "chunks")  # columns that only a run with the model can make
_MEASURES = ("distinct", "tokens", "special_tokens_in_text", "rescued")
_TIMES = ("computed_tokens", "seconds", "waited")  # of replicas
_REUSED = ("pairs", "checked")  # of `Facts.reuse`


@dataclass(frozen=True)
class Source:
    """Where the scores of each row are.

    Attributes:
        store: the old output.
        written: the columns of its scores.
        parts: receipts of its parts by shard, in the order of the rows.
        day: the first one, since 1970, on which one of its scores may have been computed.
        replaced: whether the new output takes its place, and so tells of its replicas.

    """

    store: Store
    written: Written
    parts: dict[str, list[Receipt]]
    day: int
    replaced: bool = False

    def overlapping(self, part: Part) -> Iterator[tuple[Receipt, int, int]]:
        """The old parts with rows of `part`, and which rows of the shard these are.

        Raises:
            Incomplete: rows have no score in the old output.

        """
        next_row = part.start
        for receipt in self.parts.get(part.shard_name, []):
            start, stop = max(part.start, receipt.start), min(part.stop, receipt.stop)
            if start < stop and start == next_row:
                yield receipt, start, stop
                next_row = stop
        if next_row != part.stop:
            raise Incomplete(
                f"{self.store.url}: has no scores of {rows_text(next_row, part.stop)} of "
                f"{part.shard}. Run `batch-reranker verify` to see what is missing"
            )

    def covers(self, part: Part) -> bool:
        """Whether all rows of `part` have scores."""
        try:
            return bool(list(self.overlapping(part))) or part.start == part.stop
        except Incomplete:
            return False


@dataclass(frozen=True)
class Derivation:
    """A derivation that is ready to start.

    Attributes:
        source: the old scores.
        config: of the new output.
        plan: of the new output.
        fingerprint: of the new output.
        parts: those that are derived; not all of the plan where the old output is not complete.

    """

    source: Source
    config: Config
    plan: Plan
    fingerprint: dict[str, Any]
    parts: tuple[Part, ...]


def prepare_derivation(source: Store, config: Config) -> Derivation:
    """Compare the old output with the input, and plan the parts of the new one.

    Args:
        source: the old output.
        config: of the run that wrote it, with `output.*` of the new one.

    Raises:
        Incomplete: the old output is not complete.
        ConfigError: a column is asked for that only the model can give.
        OutputConflict: the input has changed since the old output was written.

    """
    run = require_recorded(source)
    if not source.exists(SUCCESS):
        state = recorded_manifest(source).get("state")
        why = "a limit is exceeded, so this output is not accepted. Raise the limit, and run the "
        why = why if state in OVER_LIMITS else "so its scores are not complete. Run the "
        raise Incomplete(f"{source.url}: has no {SUCCESS}: {why}command of this output again first")
    missing = [name for name in _COPIED if getattr(config.output, name) and not run["output"][name]]
    if missing:
        raise ConfigError(
            f"output.{missing[0]}=true: {source.url} does not have this column, and only a run "
            "with the model can compute it. Leave it out"
        )
    plan = make_plan(config, run["input"].get("snapshots"))
    plan = plan.known_as(unchanged(source, run["input"]["shards"], plan))
    scoring = fingerprint_for(run["fingerprint"], config)
    now = identity(scoring, plan, config, run)
    refuse_differences(source, _input_of(run), _input_of(now))
    return Derivation(_source(source, run, plan), config, plan, scoring, plan.parts)


def derivation_in_place(
    source: Store, config: Config, plan: Plan, fingerprint: dict[str, Any]
) -> Derivation:
    """The derivation that gives an output, complete or not, the columns of `config`.

    Args:
        source: the output; it differs from the new one in such columns only.
        config: of the new output.
        plan: of the new output.
        fingerprint: of the new output.

    """
    run = require_recorded(source)
    found = _source(source, run, plan, replaced=True)
    return Derivation(
        found, config, plan, fingerprint, tuple(part for part in plan.parts if found.covers(part))
    )


def _source(store: Store, run: dict[str, Any], plan: Plan, replaced: bool = False) -> Source:
    inventory, etags = take_inventory(store), {part.shard_name: part.etag for part in plan.parts}
    parts: dict[str, list[Receipt]] = defaultdict(list)
    for _, receipt in read_receipts(store, inventory.receipts):
        if (
            receipt is not None
            and receipt.run == digest(run)
            and receipt.etag == etags.get(receipt.shard)
            and (inventory.matches(receipt) or not replaced)
        ):
            parts[receipt.shard].append(receipt)
    for found in parts.values():
        found.sort(key=lambda receipt: receipt.start)
    days = [receipt.reuse["oldest"] for each in parts.values() for receipt in each if receipt.reuse]
    day = min([*days, _first_day(store)])
    return Source(store, Written.of_run(run), dict(parts), day, replaced)


def _first_day(store: Store) -> int:
    """When the first driver started, as far as the output says; else when it was begun."""
    starts = [attempt.start for attempt in read_attempts(store)]
    if starts:
        moment = datetime.fromisoformat(min(starts))
    else:
        moment = store.filesystem.modified(store.path(RUN_FILE))
    return day_of(moment.timestamp())


def take_scores(
    source: Source, part: Part, table: pa.Table, schema: InputSchema, config: Config
) -> tuple[ScoredPart, dict[str, Any]]:
    """The rows of a part with their old scores, and the measures for its receipt.

    Raises:
        Incomplete: rows have no score in the old output.

    """
    old, measures = _rows(source, part)
    found = source.written.read(old)
    lists = old.column(source.written.status).combine_chunks()
    zeros = np.zeros(len(found["status"]), np.int32)
    rows = typed(table, schema)
    keys = PartKeys.of(find_pairs(rows, schema)) if config.reuse.keep else None
    return (
        ScoredPart(
            rows=carried_rows(rows, schema, config.output.text),
            per_row=lists.value_lengths().fill_null(0).to_numpy().astype(np.int64)
            if source.written.nested
            else None,
            rescued=round(measures["rescued"]),
            keys=keys and keys.all_since(source.day),
            reuse={name: round(measures[name]) for name in _REUSED} | {"oldest": source.day},
            **({"lost": zeros, "chunks": zeros} | found),
        ),
        {name: round(measures[name]) for name in _MEASURES if name != "rescued"}
        | {
            "computed_tokens": round(measures["computed_tokens"]),
            "seconds": round(measures["seconds"], 4),
            "waited": round(measures["waited"], 4),
        },
    )


def _rows(source: Source, part: Part) -> tuple[pa.Table, dict[str, float]]:
    """The old rows of a part, and its share of what the old receipts count."""
    measures = dict.fromkeys((*_MEASURES, *_TIMES, *_REUSED), 0.0)
    tables = []
    for receipt, start, stop in source.overlapping(part):
        with open_data(source.store, receipt.part) as file:
            table = file.read(columns=source.written.names)
        tables.append(table.slice(start - receipt.start, stop - start))
        share = (stop - start) / receipt.rows
        for name in (*_MEASURES, *(_TIMES if source.replaced else ())):
            measures[name] += getattr(receipt, name) * share
        for name in _REUSED if source.replaced else ():
            measures[name] += receipt.reuse.get(name, 0) * share
    return pa.concat_tables(tables), measures


def _input_of(run: dict[str, Any]) -> dict[str, Any]:
    """The input in an identity, without the columns that are copied."""
    return {"input": {key: run["input"][key] for key in run["input"] if key != "schema"}}
