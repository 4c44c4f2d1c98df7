"""The work of a run, estimated from a sample of its parts: tokens, duplicates, examples."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
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
_CHANCE = 0.05


@dataclass(frozen=True)
class Workload:
    """What the remaining parts hold.

    Attributes:
        parts, pairs: what is left to score; pairs of nested input are an estimate.
        done: number of parts that a resume skips.
        sampled: number of parts that were looked into.
        tokens: estimate of all tokens to compute, without padding; duplicates within a part once,
            and pairs with an earlier score not at all.
        low, high: its 95 % interval, from the differences between the sampled parts, or between
            the pairs of a single one.
        distinct: fraction of the pairs with both texts that are not duplicates within their part.
        cut: fraction of the sampled pairs that lose tokens.
        examples: some pairs as the model will see them. These are texts of users.
        schema: of the output.
        sequences: those of the sample, to measure a rate with.
        encoding_seconds: processor time to tokenize one token of them.
        known: fraction of the sampled pairs that have an earlier score; None without `reuse.from`.
        saved: tokens that need not be computed, by what saves them.

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
    saved: dict[str, float] = field(default_factory=dict)


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
    whole = float(tokens.sum() / max(weights.sum(), 1))
    known = None
    if prepared.reuse is not None:
        shares = np.array(prepared.reuse.known_shares([sample.hashes for sample in samples]))
        known = float((shares * weights).sum() / max(weights.sum(), 1))
        tokens = tokens * (1 - shares * (1 - prepared.reuse.check))
    each = float(tokens.sum() / max(weights.sum(), 1))
    error = _ERRORS * _error(samples, weights, tokens, len(todo))
    high = each + error
    if known is not None and number < len(todo):
        # New pairs often stand together. So many parts may be new although none was sampled.
        high = max(high, whole * (1 - _CHANCE ** (1 / number)))
    sequences = tuple(sample.sequences for sample in samples)
    distinct = _fraction_distinct(samples)
    done = sum(part.pairs for part in plan.parts) - pairs
    saved = {
        "parts already scored": whole * done,
        "earlier scores": (whole - each) * pairs,
        "duplicates": whole * pairs * (1 / distinct - 1),
    }
    return Workload(
        parts=len(todo),
        pairs=pairs,
        done=len(plan.parts) - len(todo),
        sampled=number,
        tokens=each * pairs,
        low=max(0.0, each - error) * pairs,
        high=high * pairs,
        distinct=distinct,
        saved={name: tokens for name, tokens in saved.items() if tokens > 0},
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


def _error(
    samples: list[_Sample],
    weights: npt.NDArray[np.float64],
    tokens: npt.NDArray[np.float64],
    parts: int,
) -> float:
    """The standard error of the tokens of a pair."""
    number = len(samples)
    if not tokens.sum():
        return 0.0
    left = float(np.sqrt(1 - number / parts * _share(samples)))  # of a finite population
    if number == 1:
        lengths = samples[0].sequences.tokens.lengths
        return (
            float(tokens[0] / weights[0] / max(lengths.mean(), 1) * lengths.std())
            * left
            / (len(lengths) ** 0.5)
        )
    # Of a ratio over clusters (Cochran, "Sampling Techniques", 1977, 6.19), parts being clusters.
    spread = np.sum((tokens - tokens.sum() / weights.sum() * weights) ** 2) / (number - 1)
    return float(np.sqrt(spread / number) / weights.mean()) * left


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
    """The first sequences of the sampled parts, as text with special tokens."""
    found: list[str] = []
    for row in range(_EXAMPLES):
        for each in sequences:
            if row < len(each) and len(found) < _EXAMPLES:
                start = each.tokens.starts[row]
                ids = each.tokens.values[start : start + each.tokens.lengths[row]].tolist()
                found.append(prepared.pair_format.tokenizer.decode(ids))
    return tuple(found)
