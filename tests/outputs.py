"""Outputs without a model: real shards, plan, commits and receipts, scores made up from doc ids."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.config import Config
from reranker_core.encode.part import carried_rows
from reranker_core.input.columns import typed
from reranker_core.input.pairs import Status, column_of, find_pairs, list_values
from reranker_core.input.plan import Part, Plan, make_plan
from reranker_core.input.reading import read_parts
from reranker_core.input.schema import InputSchema
from reranker_core.input.types.conversion import list_lengths
from reranker_core.output.commit import commit, data_name
from reranker_core.output.identity import (
    claim,
    digest,
    identity,
    recorded,
    refuse_differences,
    without_shards,
)
from reranker_core.output.inventory import Outstanding, outstanding
from reranker_core.output.lease import Lease
from reranker_core.output.manifest import begin, conclude
from reranker_core.output.receipts import Gatherer, Receipt
from reranker_core.output.results import ScoredPart
from reranker_core.output.totals import Totals
from reranker_core.reuse.keys import PartKeys
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store
from tests.tables import config

MEASURES = {
    "distinct": 4,
    "tokens": 100,
    "computed_tokens": 110,
    "special_tokens_in_text": 1,
    "seconds": 0.5,
    "waited": 0.1,
}


def sizes(store: Store, folder: str = "") -> dict[str, int]:
    """Name -> bytes."""
    return {listed.name: listed.size for listed in store.list(folder)}


class Output:
    """An input in `folder`/in, planned, and an output that its parts can be committed to."""

    def __init__(self, source: Path, output: Path | str, *overrides: str) -> None:
        self.config: Config = config(source, output, "plan.part_rows=4", *overrides)
        self.plan: Plan = make_plan(self.config)
        self.store = Store(self.config.output.path)
        scoring = {"model": {}, "normalize": self.config.output.normalize, "dtype": "float32"}
        self.run: dict[str, Any] = identity(scoring, self.plan, self.config)

    @property
    def digest(self) -> str:
        return digest(self.run)

    def claim(self) -> None:
        claim(self.store, self.run, None)

    def commit(
        self, part: Part, bad: int = 0, noise: float = 0.0, store: Store | None = None
    ) -> Receipt:
        """Commit a part, its first `bad` pairs without a score. `noise` is what other hardware
        makes of the same scores.
        """
        return commit_part(
            store or self.store, part, self.plan.schema, self.config, self.digest, bad, noise
        )

    def drive(self, noise: float = 0.0, term: float = 1.0, store: Store | None = None) -> Totals:
        """What a driver does from lease to `_SUCCESS`, with threads in place of Ray's workers and
        made-up scores in place of a model's.
        """
        store = store or self.store
        with Lease.acquire(store, term) as lease:
            before = recorded(store)
            left = Outstanding.all_of(self.plan)
            if before is not None:
                refuse_differences(store, without_shards(before), without_shards(self.run))
                left = outstanding(store, self.plan, self.digest)
            lease.confirm()
            begin(store, self.run, before, left)
            gatherer = Gatherer(store, list(left.singles))

            def work(part: Part) -> Receipt:
                lease.fence.check(store)
                return self.commit(part, noise=noise, store=store)

            for receipt in in_parallel(work, left.todo, threads=3):
                lease.check()
                gatherer.add(receipt)
            lease.confirm()
            return conclude(store, self.run, self.config, {})

    def tables(self) -> list[pa.Table]:
        """The data files of all parts, in input order."""
        names = [data_name(part.name) for part in self.plan.parts]
        return [pq.read_table(io.BytesIO(self.store.read(name))) for name in names]

    def commit_all(self, skip: int | None = None, bad: int = 0) -> None:
        """Commit every part but number `skip`, the first with pairs that have no score."""
        for number, part in enumerate(self.plan.parts):
            if number != skip:
                self.commit(part, bad=bad if number == 0 else 0)


def commit_part(
    store: Store,
    part: Part,
    schema: InputSchema,
    settings: Config,
    run: str,
    bad: int = 0,
    noise: float = 0.0,
) -> Receipt:
    """Commit a part with made-up scores."""
    keep = settings.reuse.keep
    scored = scored_part(part, schema, bad, noise, settings.output.text, keep)
    return commit(store, part, scored, schema, settings.output, MEASURES, run)


def scored_part(
    part: Part,
    schema: InputSchema,
    bad: int = 0,
    noise: float = 0.0,
    text: bool = False,
    keep: bool = True,
) -> ScoredPart:
    """The part's rows as they are in its shard, and a score for each of its pairs."""
    ((_, rows),) = read_parts([part], schema.columns)
    rows = typed(rows, schema)
    per_row = None
    ids = column_of(rows, schema.doc_id.column)
    if schema.nested:
        per_row = list_lengths(ids)
        ids = list_values(ids, schema.doc_id)
    score = (np.array([made_up(value) for value in ids.to_pylist()]) + noise).astype(np.float32)
    status = np.full(len(score), Status.SCORED, np.int8)
    status[:bad] = Status.NOT_FINITE
    score[:bad] = np.nan
    carried, zeros = carried_rows(rows, schema, text), np.zeros(len(score), np.int32)
    keys = PartKeys.of(find_pairs(rows, schema)) if keep else None
    return ScoredPart(
        carried, per_row, status, score, rescued=0, lost=zeros, chunks=zeros, keys=keys
    )


def made_up(doc_id: object) -> float:
    """The score of a document."""
    return zlib.crc32(str(doc_id).encode()) % 1000 / 100
