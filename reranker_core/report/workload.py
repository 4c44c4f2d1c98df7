"""The work of a run, estimated from a sample of its parts: tokens, duplicates, examples."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from reranker_core.encode.part import carried_rows, encode_part
from reranker_core.encode.sequences import TokenSequences
from reranker_core.input.columns import typed
from reranker_core.input.pairs import find_pairs
from reranker_core.input.plan import Part
from reranker_core.input.reading import read_parts
from reranker_core.output.results import ScoredPart, output_table
from reranker_core.prepare import Prepared
from reranker_core.reuse.hashes import Hashes, pair_hashes

_PARTS = 12
_PAIRS = 512  # of each part, to tokenize
_EXAMPLES = 3
_SEED = 0
_ERRORS = 1.96  # standard errors: 95 %


@dataclass(frozen=True)
class Workload:
    """What the remaining parts hold.

    Attributes:
        parts, pairs: what is left to score; pairs of nested input are an estimate.
        done: number of parts that a resume skips.
        sampled: number of parts that were looked into.
        tokens: estimate of all tokens to compute, without padding; duplicates within a part once,
            and pairs with an earlier score not at all.
        low, high: its 95 % interval, from the differences between the sampled parts.
        distinct: fraction of the pairs with both texts that are not duplicates within their part.
        cut: fraction of the sampled pairs that lose tokens.
        examples: some pairs as the model will see them. These are texts of users.
        schema: of the output.
        sequences: those of the sample, to measure a rate with.
        encoding_seconds: processor time to tokenize one token of them.
        known: fraction of the sampled pairs that have an earlier score; None without `reuse.from`.

    """

    parts: int
    pairs: int
    done: int
    sampled: int
    tokens: float
    low: float
    high: float
    distinct: float
    cut: float
    examples: tuple[str, ...]
    schema: pa.Schema | None
    sequences: tuple[TokenSequences, ...]
    encoding_seconds: float = 0.0
    known: float | None = None


def workload(prepared: Prepared) -> Workload:
    """Sample the remaining parts.

    Raises:
        InputError: a part cannot be read.

    """
    todo, plan = prepared.todo, prepared.plan
    pairs = sum(part.pairs for part in todo)
    random = np.random.default_rng(_SEED)
    number = min(_PARTS, len(todo))
    chosen = sorted(random.choice(len(todo), number, replace=False)) if number else []
    samples = [_sample(prepared, todo[index], random) for index in chosen]
    weights = np.array([sample.pairs for sample in samples], np.float64)
    tokens = np.array([sample.tokens for sample in samples])
    each = float(tokens.sum() / max(weights.sum(), 1))
    # Of a ratio over clusters (Cochran, "Sampling Techniques", 1977, 6.19), parts being clusters.
    error = 0.0
    if number > 1 and weights.sum():
        spread = np.sum((tokens - each * weights) ** 2) / (number - 1)
        error = float(np.sqrt(spread / number) / weights.mean())
        error *= float(np.sqrt(1 - number / len(todo) * _share(samples)))
    known = None
    if prepared.reuse is not None:
        hashes = [sample.hashes for sample in samples]
        known = prepared.reuse.known_share(np.concatenate(hashes)) if hashes else 0.0
        each, error = (value * (1 - known * (1 - prepared.reuse.check)) for value in (each, error))
    sequences = tuple(sample.sequences for sample in samples)
    return Workload(
        parts=len(todo),
        pairs=pairs,
        done=len(plan.parts) - len(todo),
        sampled=number,
        tokens=each * pairs,
        low=max(0.0, each - _ERRORS * error) * pairs,
        high=(each + _ERRORS * error) * pairs,
        distinct=_fraction_distinct(samples),
        cut=float(np.mean(np.concatenate([each.lost > 0 for each in sequences])))
        if sum(len(each.lost) for each in sequences)
        else 0.0,
        known=known,
        examples=_examples(prepared, sequences),
        schema=samples[0].schema if samples else None,
        sequences=sequences,
        # Not the mean: the first one loads what tokenizes.
        encoding_seconds=float(np.median([sample.seconds for sample in samples]))
        if samples
        else 0.0,
    )


@dataclass(frozen=True)
class _Sample:
    """Of one part; `filled` of its pairs have both texts; `read` is the fraction of its pairs that
    were tokenized, `seconds` the processor time for a token.
    """

    pairs: int
    filled: int
    distinct: int
    tokens: float
    read: float
    seconds: float
    sequences: TokenSequences
    schema: pa.Schema
    hashes: Hashes


def _sample(prepared: Prepared, part: Part, random: np.random.Generator) -> _Sample:
    schema, config = prepared.plan.schema, prepared.config
    ((_, table),) = read_parts([part], schema.columns)
    pairs = find_pairs(typed(table, schema), schema)
    distinct = int((pairs.distinct_of.max(initial=-1)) + 1)
    whole = max(len(pairs.status), 1)
    rows = max(1, int(table.num_rows * _PAIRS / whole)) if whole > _PAIRS else table.num_rows
    start = int(random.integers(0, table.num_rows - rows + 1))
    some = table.slice(start, rows)
    began = time.process_time()
    encoded = encode_part(some, schema, prepared.pair_format, config)
    seconds = time.process_time() - began
    tokenized, length = len(encoded.sequences.chunks), float(encoded.sequences.tokens.lengths.sum())
    return _Sample(
        pairs=len(pairs.status),
        filled=int(np.sum(pairs.distinct_of >= 0)),
        distinct=distinct,
        tokens=length / max(tokenized, 1) * distinct,
        seconds=seconds / max(length, 1.0),
        read=min(1.0, rows / max(table.num_rows, 1)),
        sequences=encoded.sequences,
        schema=_output_schema(prepared, typed(table, schema).slice(0, 0)),
        hashes=pair_hashes(find_pairs(typed(some, schema), schema)),
    )


def _fraction_distinct(samples: list[_Sample]) -> float:
    filled = sum(sample.filled for sample in samples)
    return sum(sample.distinct for sample in samples) / filled if filled else 1.0


def _share(samples: list[_Sample]) -> float:
    """The fraction of the sampled parts that was tokenized."""
    return float(np.mean([sample.read for sample in samples]))


def _output_schema(prepared: Prepared, rows: pa.Table) -> pa.Schema:
    schema, output = prepared.plan.schema, prepared.config.output
    none = np.zeros(0, np.int32)
    empty = ScoredPart(
        carried_rows(rows, schema, output.text),
        none.astype(np.int64) if schema.nested else None,
        none.astype(np.int8),
        none.astype(np.float32),
        rescued=0,
        lost=none,
        chunks=none,
        layers={
            layer: none.astype(np.float32) for layer in prepared.config.model.cutoff_layers[:-1]
        },
    )
    return output_table(empty, schema, output).schema


def _examples(prepared: Prepared, sequences: tuple[TokenSequences, ...]) -> tuple[str, ...]:
    """The first sequence of some sampled parts, as text with special tokens."""
    found = []
    for each in sequences:
        if len(each):
            ids = each.tokens.values[: each.tokens.lengths[0]].tolist()
            found.append(prepared.pair_format.tokenizer.decode(ids))
    return tuple(found[:_EXAMPLES])
