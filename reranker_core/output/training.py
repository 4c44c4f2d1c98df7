"""Teacher scores: a scored output as JSON Lines that FlagEmbedding's fine-tuning reads.

One line per query: `query`, `pos`, `neg`, `pos_scores`, `neg_scores` (FlagEmbedding 1.4.2,
AbsRerankerTrainDataset, with `--knowledge_distillation True`). One file per part, so that a second
run of the command writes the same files again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from reranker_core.config import Config
from reranker_core.errors import ConfigError, Incomplete, InputError
from reranker_core.input.pairs import candidates, column_of
from reranker_core.input.plan import Plan, make_plan
from reranker_core.input.query_cuts import DividedQuery
from reranker_core.input.reading import read_parts
from reranker_core.input.schema import InputSchema
from reranker_core.output.checksums import unchanged
from reranker_core.output.commit import open_data
from reranker_core.output.derivation import prepare_derivation, take_scores
from reranker_core.output.identity import (
    identity,
    refuse_differences,
    require_recorded,
    temperature,
)
from reranker_core.output.labels import field_of, labels_of, values_of
from reranker_core.output.manifest import SUCCESS
from reranker_core.output.results import output_table, query_of_pair
from reranker_core.storage.store import Store

TRAINING = "_training"


@dataclass
class Written:
    """Counts of written and omitted queries and pairs."""

    queries: int = 0
    pairs: int = 0
    without_positive: int = 0
    without_negative: int = 0
    unscored: int = 0
    unlabelled: int = 0  # pairs; they count as negatives where others of their query are positive


def write_training_data(config: Config) -> Written:
    """Write `_training/<part>.jsonl` for each part of a complete output. Texts come from the input.

    Raises:
        ConfigError: the labels are not configured, or not in the output.
        InputError: a row has different numbers of labels and candidates, or rows of a query are
            not adjacent. Then no file is written.
        Incomplete: there is no `_SUCCESS` yet, or a data file is missing or damaged.
        OutputConflict: the output was written with another configuration or another input.

    """
    _refuse(config)
    store = Store(config.output.path)
    if not store.exists(SUCCESS):
        raise Incomplete(
            f"output.path={store.url}: has no {SUCCESS}, so the run is not complete. "
            "Run `batch-reranker run` with the same configuration first"
        )
    plan = _plan_of(store, config)
    if config.training.positive_column is not None:
        _check_labels(store, plan, config)
    written = Written()
    config = _with_texts(config, plan.schema.nested)
    try:
        derivation = prepare_derivation(store, config)
    except DividedQuery as divided:
        raise InputError(
            f"export: {divided.where}. A line of training data has all candidates of a query, so "
            "they must be in adjacent rows of one shard. Sort the rows of the input by query, "
            "score them to another output.path, and export that output. With reuse.from, scores "
            "are used again (docs/reuse.md)"
        ) from None
    schema, divisor = derivation.plan.schema, temperature(derivation.fingerprint)
    for part in derivation.plan.parts:
        ((_, rows),) = read_parts([part], schema.columns)
        scored, _ = take_scores(derivation.source, part, rows, schema, config)
        table = output_table(scored, schema, config.output, divisor)
        place = (part.shard, part.start)
        lines = [
            json.dumps(record, ensure_ascii=False) + "\n"
            for record in training_records(table, schema, config, written, place)
        ]
        store.write(f"{TRAINING}/{part.name}.jsonl", "".join(lines).encode())
    return written


def training_records(
    table: pa.Table,
    schema: InputSchema,
    config: Config,
    written: Written,
    place: tuple[str, int] = ("the output", 0),
) -> list[dict[str, Any]]:
    """The lines of one part's output, in its order; counts are added to `written`. `place`
    is the shard and the number of the table's first row, for messages.

    Queries without a positive or without a negative are omitted, because training cannot use them.
    """
    rule, names = config.training, config.output.columns
    per_row, passages, _ = candidates(table, schema)
    scores = values_of(
        table, names.normalized if rule.scores == "normalized" else names.score, schema
    )
    score = scores.to_numpy(zero_copy_only=False).astype(np.float64)  # null becomes NaN
    if rule.positive_column is None:
        positive = values_of(table, names.score, schema).to_numpy(zero_copy_only=False)
        positive = np.asarray(positive >= rule.positive_score)
    else:
        labelled, positive = labels_of(table, schema, rule, names.score, place)
        written.unlabelled += int((~labelled).sum())
    group = query_of_pair(table, per_row, schema)
    known = ~np.isnan(score)
    written.unscored += int((~known).sum())
    row_of = (
        np.arange(table.num_rows)
        if per_row is None
        else np.repeat(np.arange(table.num_rows), per_row)
    )
    queries = column_of(table, schema.query)
    bounds = np.append(np.flatnonzero(np.diff(group, prepend=-1)), len(group))
    records = []
    for begin, end in pairwise(bounds.tolist()):
        pairs = np.arange(begin, end)[known[begin:end]]
        pos, neg = pairs[positive[pairs]], pairs[~positive[pairs]]
        if not len(pos):
            written.without_positive += 1
        elif not len(neg):
            written.without_negative += 1
        else:
            written.queries += 1
            written.pairs += len(pairs)
            records.append(
                {
                    "query": queries[int(row_of[begin])].as_py(),
                    "pos": passages.take(pa.array(pos)).to_pylist(),
                    "neg": passages.take(pa.array(neg)).to_pylist(),
                    "pos_scores": score[pos].tolist(),
                    "neg_scores": score[neg].tolist(),
                }
            )
    return records


def _plan_of(store: Store, config: Config) -> Plan:
    """The plan of the run that wrote the output; the configuration must be that of the run."""
    run = require_recorded(store)
    plan = make_plan(config, run["input"].get("snapshots"))
    plan = plan.known_as(unchanged(store, run["input"]["shards"], plan))
    refuse_differences(store, run, identity(run["fingerprint"], plan, config, run), config)
    return plan


def _refuse(config: Config) -> None:
    rule = config.training
    if (rule.positive_column is None) == (rule.positive_score is None):
        raise ConfigError(
            "training data needs either training.positive_column (above 0: a positive) or "
            "training.positive_score"
        )


def _with_texts(config: Config, nested: bool) -> Config:
    """The configuration of the output that the lines are made of. Ranks keep a query of flat input
    in one part.
    """
    more: dict[str, Any] = {"text": True, "rank": not nested or config.output.rank}
    if config.training.scores == "normalized":
        more["normalize"] = "sigmoid"
    return config.model_copy(update={"output": config.output.model_copy(update=more)})


def _check_labels(store: Store, plan: Plan, config: Config) -> None:
    """Look at the labels of all parts before a file is written."""
    rule, names = config.training, config.output.columns
    for part in plan.parts:
        with open_data(store, part.name) as file:
            column = field_of(str(rule.positive_column), file.schema_arrow.names).column
            table = file.read([column, names.score])
        labels_of(table, plan.schema, rule, names.score, (part.shard, part.start))
