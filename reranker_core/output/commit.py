"""Committing a scored part: one immutable data file, then its receipt.

Layout below the output path:

    <part>.parquet              the part's rows, in input order, with the score columns
    _quarantine/<part>.jsonl    one line for each pair without a score (only if there are any)
    _keys/<part>.parquet        hash and score of each distinct pair; see `output.keys`
    _receipts/<part>.json       written last; a part without it does not count as done

The data file is created only if it does not exist. So of several attempts (retries, workers that
are thought dead, other drivers), one creates the file and none replaces it: a file never changes
after a reader has seen it. The other attempts find the file and compute the receipt from this file,
not from their own scores. So each attempt leaves the same objects, and it is safe to write them
twice. If the reply to a request was lost, the attempt finds its own file in the same way.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.config import OutputConfig
from reranker_core.errors import Incomplete, OutputConflict, RerankError, brief
from reranker_core.errors.redaction import without_credentials
from reranker_core.input.pairs import Status
from reranker_core.input.plan import Part
from reranker_core.input.schema import InputSchema
from reranker_core.input.types.conversion import has_room
from reranker_core.output.contents import Columns, check_content
from reranker_core.output.distribution import describe
from reranker_core.output.keys import commit_keys
from reranker_core.output.receipts import Facts, Receipt, receipt_name
from reranker_core.output.results import ScoredPart, output_table, quarantined
from reranker_core.output.written import Written
from reranker_core.storage.store import Store

QUARANTINE = "_quarantine"
_SUFFIX = ".parquet"
_FACTS = b"batch-reranker"


def data_name(part: str) -> str:
    """The name of a part's data file below the output."""
    return f"{part}{_SUFFIX}"


def part_of(name: str) -> str | None:
    """The inverse of `data_name`; None for other names."""
    return name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) and "/" not in name else None


def quarantine_name(part: str) -> str:
    """The name of the list of a part's pairs without a score below the output."""
    return f"{QUARANTINE}/{part}.jsonl"


def commit(
    store: Store,
    part: Part,
    scored: ScoredPart,
    schema: InputSchema,
    output: OutputConfig,
    measures: dict[str, Any],
    run: str,
    temperature: float = 1.0,
) -> Receipt:
    """Write a part's files and its receipt, unless they exist, and return the receipt.

    Args:
        store: the output.
        part: the part.
        scored: its rows and scores.
        schema: the input's columns.
        output: the configuration of the columns.
        measures: `distinct`, `tokens`, `computed_tokens`, `seconds`, `waited` and
            `special_tokens_in_text` of the receipt.
        run: the digest of the run's identity.
        temperature: the divisor of scores before normalization.

    Raises:
        OutputConflict: a run with another identity has written the data file.

    """
    facts = _facts(part, scored, measures, run)
    table = output_table(scored, schema, output, temperature)
    problems = check_content(table, Columns.of(schema, output, scored.layers), facts)
    if problems:
        raise RerankError(
            f"part {part.name} is not written, because its rows are wrong: {'; '.join(problems)}"
        )
    data = _parquet(table, facts)
    if not store.create(data_name(part.name), data):
        theirs = store.read(data_name(part.name))
        if theirs != data:
            data, facts = theirs, _facts_of(store, part, theirs, run)
            written = Written.of(output, schema.nested, list(scored.layers))
            table = pq.read_table(io.BytesIO(theirs), columns=written.names)
            scored = replace(scored, **written.read(table))
    records = quarantined(scored, schema, part.start)
    if records:
        shard = without_credentials(part.shard)
        lines = "".join(
            json.dumps({"shard": shard, **record}, default=_as_text) + "\n" for record in records
        )
        store.write(quarantine_name(part.name), lines.encode())
    keys = commit_keys(store, part.name, scored, output, facts.reuse.get("oldest"))
    receipt = Receipt(
        **asdict(facts),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        computed_tokens=measures["computed_tokens"],
        seconds=measures["seconds"],
        waited=measures["waited"],
        special_tokens_in_text=measures["special_tokens_in_text"],
        keys=keys,
    )
    store.write(receipt_name(part.name), receipt.to_json())
    return receipt


def read_facts(data: bytes) -> Facts | None:
    """The facts in the footer of a data file; None if this job did not write it."""
    try:
        metadata = pq.read_metadata(io.BytesIO(data)).metadata or {}
        return Facts(**json.loads(metadata[_FACTS]))
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
        return None


@contextmanager
def open_data(store: Store, part: str) -> Iterator[pq.ParquetFile]:
    """Open the data file of a part.

    Raises:
        Incomplete: it is missing or damaged.

    """
    try:
        with pq.ParquetFile(io.BytesIO(store.read(data_name(part)))) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise Incomplete(
            f"{store.url}/{data_name(part)}: cannot be read: {brief(error)}. The output is "
            "incomplete or damaged. Run `batch-reranker verify` to see what is missing, then the "
            "command of the run to restore it"
        ) from None


def _facts(part: Part, scored: ScoredPart, measures: dict[str, Any], run: str) -> Facts:
    reasons = np.bincount(scored.status, minlength=len(Status))
    return Facts(
        part=part.name,
        run=run,
        shard=part.shard_name,
        etag=part.etag,
        start=part.start,
        stop=part.stop,
        rows=scored.rows.num_rows,
        pairs=len(scored.status),
        scored=int(reasons[Status.SCORED]),
        quarantined={
            status.label: int(reasons[status])
            for status in Status
            if status is not Status.SCORED and reasons[status]
        },
        rescued=scored.rescued,
        distinct=measures["distinct"],
        tokens=measures["tokens"],
        scores=describe(scored.score[scored.status == Status.SCORED]),
        reuse=scored.reuse,
    )


def _facts_of(store: Store, part: Part, data: bytes, run: str) -> Facts:
    facts = read_facts(data)
    if facts is None or (facts.part, facts.run) != (part.name, run):
        whose = f"run {facts.run}" if facts else "something else"
        raise OutputConflict(
            f"{store.url}/{data_name(part.name)}: was written by {whose}; this is run {run}. Two "
            "runs with different settings use the same output.path. Use a separate output.path "
            "for each"
        )
    return facts


def _parquet(table: pa.Table, facts: Facts) -> bytes:
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, compression="zstd") as writer:
        # A row group has one dictionary for each column.
        fits = all(map(has_room, table.columns))
        for rows in [table] if fits else table.to_batches():
            writer.write(rows)
        writer.add_key_value_metadata({_FACTS: facts.footer()})
    return buffer.getvalue()


def _as_text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
