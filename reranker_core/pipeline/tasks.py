"""What Ray's tasks do with parts: everything but scoring.

A process that runs them loads this module. So it imports neither torch nor transformers.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.actor import ActorHandle

from reranker_core.encode.formats.pair_format import PairFormat
from reranker_core.encode.part import EncodedPart, encode_part
from reranker_core.errors import InputError, rows_text
from reranker_core.input.companions import check_companions
from reranker_core.input.plan import Part
from reranker_core.input.schema import InputSchema
from reranker_core.output.commit import commit
from reranker_core.output.derivation import Source, take_scores
from reranker_core.output.earlier_scores import EarlierScores
from reranker_core.output.results import ScoredPart
from reranker_core.output.shared_pairs import SharedPairs
from reranker_core.pipeline import code, receipts, wire
from reranker_core.pipeline.asking import ask
from reranker_core.pipeline.job import Job
from reranker_core.pipeline.limit import Limit
from reranker_core.reuse.known import Reuse

WriteShared = Callable[[SharedPairs, str, pa.Table, InputSchema], None]

_STALLS = 4  # a text that hangs is to be found before the run counts as stalled


@dataclass(frozen=True)
class Encoding:
    """What tokenizing needs. The driver sends it once to each process.

    So all nodes tokenize in the same way and do not need the model files for it.
    """

    job: Job
    pair_format: PairFormat
    coordinator: ActorHandle


def encode(block: pa.Table, encoding: list[ray.ObjectRef]) -> pa.Table:
    """Parts as read → parts as token ids. `encoding` is the reference of an `Encoding`, in a list,
    where Ray leaves it alone.
    """
    found = _fetched(encoding[0])
    code.require(found.job.code)
    scores = found.job.reuse
    reuse = None if scores is None else _opened(scores, found.coordinator)
    encoded = []
    for row in wire.rows(block):
        part, table = wire.table_of_row(row)
        job = found.job
        check_companions(table, job.schema, job.config, (part.shard, part.start))
        try:
            ids = _encoded(part.name, table, job, found.pair_format, found.coordinator, reuse)
        except InputError as error:
            where = f"{part.shard}, {rows_text(part.start, part.stop)}"
            raise InputError(f"{where}: {error}") from None
        encoded.append(wire.row_of_encoded(part, ids))
    return pa.concat_tables(encoded)


def _encoded(
    part: str,
    table: pa.Table,
    job: Job,
    pair_format: PairFormat,
    coordinator: ActorHandle,
    reuse: Reuse | None,
) -> EncodedPart:
    """The part, tokenized with care if that has ended processes, which a text that hangs does."""
    caution = ask(coordinator, "begin", "tokenize", part)

    def before(texts: list[int], characters: int) -> None:
        limit.restart(characters if texts or caution is None else 10 * characters)
        if caution is not None:
            ask(coordinator, "announce", "tokenize", part, texts)

    with Limit(job.config.guard.max_stall_seconds / _STALLS) as limit:
        encoded = encode_part(
            table,
            job.schema,
            pair_format,
            job.config,
            caution and (caution.fatal, caution.suspects),
            before,
            reuse,
        )
    ask(coordinator, "finish", "tokenize", part)
    return encoded


def commit_part(
    part: Part, scored: ScoredPart, measures: dict[str, Any], job: Job, coordinator: ActorHandle
) -> bytes:
    """The receipt of a scored part, whose files are in the store then."""
    ask(coordinator, "begin", "commit", part.name)
    job.fence.check(job.store)
    receipt = commit(
        job.store,
        part,
        scored,
        job.schema,
        job.config.output,
        measures,
        job.run,
        job.temperature,
    )
    ask(coordinator, "finish", "commit", part.name)
    return receipt.to_json()


def derive_parts(
    block: pa.Table, job: Job, source: list[ray.ObjectRef], coordinator: ActorHandle
) -> pa.Table:
    """Parts as read → receipts of their files, with the scores that an earlier output has."""
    code.require(job.code)
    found: Source = ray.get(source[0])
    written = []
    for row in wire.rows(block):
        part, table = wire.table_of_row(row)
        scored, measures = take_scores(found, part, table, job.schema, job.config)
        written.append(commit_part(part, scored, measures, job, coordinator))
    return receipts.packed(written, "")


def write_shared_pairs(
    block: pa.Table, write: WriteShared, to: tuple[SharedPairs, InputSchema, str]
) -> dict[str, list[str]]:
    """Parts as read → their names; `write` writes something of each."""
    shared, schema, driver = to
    code.require(driver)
    names = []
    for row in wire.rows(block):
        part, table = wire.table_of_row(row)
        write(shared, part.name, table, schema)
        names.append(part.name)
    return {"part": names}


_open: dict[EarlierScores, Reuse] = {}


def _opened(scores: EarlierScores, coordinator: ActorHandle) -> Reuse:
    """Once a worker process; the first one on a machine builds the index of the scores."""
    if scores not in _open:
        _open.clear()  # of an earlier run in this process
        _open[scores] = scores.open(coordinator.batch_done.remote)
    return _open[scores]


@functools.lru_cache(maxsize=1)
def _fetched(encoding: ray.ObjectRef) -> Encoding:
    """Once a worker process, not once a part."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # Ray runs a task a core already
    found: Encoding = ray.get(encoding)
    return found
