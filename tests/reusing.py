"""A night without Ray: prepared, encoded, scored, committed and concluded by the job's own code."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, settings

from reranker_core.encode.part import encode_part
from reranker_core.input.reading import read_parts
from reranker_core.output.attempts import Recorder
from reranker_core.output.commit import commit, data_name
from reranker_core.output.identity import digest, identity
from reranker_core.output.manifest import begin, conclude, recorded_manifest
from reranker_core.output.results import ScoredPart
from reranker_core.output.shared_pairs import SharedPairs
from reranker_core.output.totals import Totals
from reranker_core.pipeline import wire
from reranker_core.pipeline.within import run_of
from reranker_core.prepare import Prepared, compare, prepare, with_earlier_scores
from reranker_core.score.scorer import Scorer
from reranker_core.storage.store import Store
from tests.tables import config

SETTINGS = (
    "model.dtype=float32",
    "model.device=cpu",
    "score.reproducible=true",
    "score.max_batch_tokens=512",
    "guard.max_quarantined_fraction=1",
    *(
        f"preflight.checks.{group}=off"
        for group in ("files", "architecture", "weights", "tokenizer", "prompt")
    ),
    *(f"preflight.checks.{group}=off" for group in ("numerics", "meaning", "agreement")),
)


def examples(number: int) -> settings:
    """So many examples of a test by hypothesis. They are not made smaller: each takes seconds."""
    return settings(
        max_examples=number,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


class Night:
    """A run with a loaded model."""

    def __init__(
        self, source: Path, output: Path | str, model: Path, scorer: Scorer, *overrides: str
    ) -> None:
        settings = (*SETTINGS, "plan.part_rows=4", *overrides)
        self._begin(prepare(config(source, output, *settings, model=model)), scorer)

    @classmethod
    def of(cls, prepared: Prepared, scorer: Scorer) -> Night:
        """A run that is prepared."""
        night = cls.__new__(cls)
        night._begin(prepared, scorer)
        return night

    def _begin(self, prepared: Prepared, scorer: Scorer) -> None:
        self.prepared, self.scorer, self.forwarded = prepared, scorer, 0
        self.store = prepared.store

    def drive(self, most: int | None = None, wait: Any = lambda part: None) -> Totals | None:
        """Score the remaining parts, or `most` of them; the totals if that was all."""
        prepared = self.prepared = compare(self.prepared)
        run = identity(prepared.fingerprint, prepared.plan, prepared.config, prepared.before)
        begin(prepared.store, run, prepared.before, prepared.outstanding)
        reuse = None if prepared.reuse is None else prepared.reuse.open()
        schema, settings = prepared.plan.schema, prepared.config
        todo = prepared.todo[:most]
        for part in todo:
            ((_, table),) = read_parts([part], schema.columns)
            found = encode_part(table, schema, prepared.pair_format, settings, reuse=reuse)
            _, found = wire.encoded_of_row(_row(wire.row_of_encoded(part, found)))
            scores = self.scorer.score(found.sequences)
            self.forwarded += len(found.sequences.chunks)
            measures = {
                "distinct": len(found.sequences.chunks),
                "tokens": int(found.sequences.tokens.lengths.sum()),
                "computed_tokens": scores.computed_tokens,
                "seconds": 0.1,
                "waited": 0.0,
                "special_tokens_in_text": found.special_tokens,
            }
            scored = ScoredPart.of(found, scores, settings.model)
            commit(prepared.store, part, scored, schema, settings.output, measures, digest(run))
            wait(part)
        if len(todo) < len(prepared.todo):
            return None
        with Recorder(
            *(prepared.store, 1, time.time()),
            reuse=prepared.reuse.as_dicts() if prepared.reuse else [],
        ):
            pass
        return conclude(prepared.store, run, settings, {"fingerprint": prepared.fingerprint})

    def tables(self) -> list[pa.Table]:
        """The data of all parts, in input order."""
        return [read(self.store, data_name(part.name)) for part in self.prepared.plan.parts]

    @property
    def manifest(self) -> dict[str, Any]:
        """What a finished night says of itself."""
        return recorded_manifest(self.store)


def find_shared(prepared: Prepared, lives: int = 1000) -> tuple[SharedPairs, int]:
    """What the two passes do; killed after `lives` parts."""
    shared, parts = SharedPairs(prepared.store), {part.name: part for part in prepared.todo}
    schema, left = prepared.plan.schema, iter(range(lives))

    def each(write: Any, names: set[str]) -> None:
        for name in sorted(names):
            next(left)
            ((_, table),) = read_parts([parts[name]], schema.columns)
            write(name, table, schema)

    each(shared.write_hashes, parts.keys() - shared.begin(set(parts)))
    owners, pairs = shared.share_out(parts)
    each(shared.write_pairs, owners)
    shared.finish(pairs)
    return shared, pairs


def score_shared(night: Night, shared: SharedPairs) -> int:
    """Score the shared pairs, give them to the night, and return how many were forwarded."""
    prepared = replace(run_of(night.prepared, shared), store=shared.scores)
    first = Night.of(prepared, night.scorer)
    assert first.drive() is not None
    night.prepared = with_earlier_scores(night.prepared, shared.scores)
    return first.forwarded


def read(store: Store, name: str) -> pa.Table:
    return pq.read_table(io.BytesIO(store.read(name)))


def _row(block: pa.Table) -> dict[str, pa.Scalar]:
    (row,) = wire.rows(block)
    return row


def flat_of(rows: Iterable[tuple[str | None, str | None]]) -> pa.Table:
    """A flat table of (query, passage)."""
    rows = list(rows)
    text = pa.string()
    return pa.table(
        {
            "query_id": pa.array([f"q{hash(query) % 997}" for query, _ in rows], text),
            "query": pa.array([query for query, _ in rows], text),
            "doc_id": pa.array([f"d{number}" for number in range(len(rows))], text),
            "passage": pa.array([passage for _, passage in rows], text),
        }
    )


def nested_of(rows: Iterable[tuple[str | None, str | None]]) -> pa.Table:
    """The same with a row per run of equal queries."""
    queries: list[str | None] = []
    lists: list[list[str | None]] = []
    for query, passage in rows:
        if not queries or queries[-1] != query:
            queries.append(query)
            lists.append([])
        lists[-1].append(passage)
    return pa.table(
        {
            "query_id": [str(number) for number in range(len(queries))],
            "query": pa.array(queries, pa.string()),
            "doc_id": [[str(place) for place in range(len(each))] for each in lists],
            "passage": pa.array(lists, pa.list_(pa.string())),
        }
    )


def structs_of(rows: Iterable[tuple[str | None, str | None]]) -> pa.Table:
    """The same with the candidates of a row in one list of structs."""
    plain = nested_of(rows)
    candidates = [
        [{"doc_id": doc, "passage": text} for doc, text in zip(docs, texts, strict=True)]
        for docs, texts in zip(*(plain[n].to_pylist() for n in ("doc_id", "passage")), strict=True)
    ]
    kind = pa.list_(pa.struct([("doc_id", pa.string()), ("passage", pa.string())]))
    column = pa.array(candidates, kind)
    return plain.select(["query_id", "query"]).append_column("candidates", column)
