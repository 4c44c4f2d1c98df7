"""Committing a scored part: one immutable data file, then its receipt. The receipt is the commit.

Layout below the output path:

    <part>.parquet              the part's rows, in input order, with the score columns
    _quarantine/<part>.jsonl    one line a pair that has no score (only where there are such)
    _receipts/<part>.json       written last; a part without it does not count as done
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.errors import OutputConflict
from reranker_core.pairs import Status
from reranker_core.plan import Part
from reranker_core.results import ScoredPart
from reranker_core.storage import Store

RECEIPTS = "_receipts"
QUARANTINE = "_quarantine"


@dataclass(frozen=True)
class Receipt:
    """Proof that a part is complete.

    Attributes:
        part: its name; the data file is `<part>.parquet`.
        run: the digest of the run's identity.
        shard, start, stop: the input rows, `stop` exclusive.
        rows, pairs: what the data file holds.
        scored, quarantined: pairs with a score; pairs without one, by reason.
        rescued: scores that were not finite at first and were computed again in float32.
        distinct, tokens: sequences that were run through the model, and their tokens.
        size, sha256: of the data file; the size in bytes.
        seconds: that the replica took.
        scores: count, min, mean, max and quantiles of the part's scores, share of tied scores.

    """

    part: str
    run: str
    shard: str
    start: int
    stop: int
    rows: int
    pairs: int
    scored: int
    quarantined: dict[str, int]
    rescued: int
    distinct: int
    tokens: int
    size: int
    sha256: str
    seconds: float
    scores: dict[str, float]

    def to_json(self) -> bytes:
        """As stored."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Receipt:
        """The inverse of `to_json`. Raises ValueError if the data is no receipt."""
        try:
            return cls(**json.loads(data))
        except TypeError as error:
            raise ValueError(str(error)) from None


def data_name(part: str) -> str:
    """The name of a part's data file below the output."""
    return f"{part}.parquet"


def receipt_name(part: str) -> str:
    """The name of a part's receipt below the output."""
    return f"{RECEIPTS}/{part}.json"


def commit(
    store: Store,
    part: Part,
    scored: ScoredPart,
    table: pa.Table,
    records: list[dict[str, Any]],
    measures: dict[str, Any],
    run: str,
) -> Receipt:
    """Write a part's files and its receipt, unless another attempt has committed it already.

    All attempts write the same names, and a receipt only after both files, so that whoever comes
    second changes nothing that a reader could see.

    Raises:
        OutputConflict: the part was committed by a run of another identity.

    """
    earlier = _earlier_receipt(store, part, run)
    if earlier is not None:
        return earlier
    data = _parquet(table)
    store.write(data_name(part.name), data)
    if records:
        lines = "".join(
            json.dumps({"shard": part.shard, **record}, default=_as_text) + "\n"
            for record in records
        )
        store.write(f"{QUARANTINE}/{part.name}.jsonl", lines.encode())
    reasons = np.bincount(scored.status, minlength=len(Status))
    receipt = Receipt(
        part=part.name,
        run=run,
        shard=part.shard,
        start=part.start,
        stop=part.stop,
        rows=table.num_rows,
        pairs=len(scored.status),
        scored=int(reasons[Status.SCORED]),
        quarantined={
            status.label: int(reasons[status])
            for status in Status
            if status is not Status.SCORED and reasons[status]
        },
        rescued=scored.rescued,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        scores=describe_scores(scored.score[scored.status == Status.SCORED]),
        **measures,
    )
    store.write(receipt_name(part.name), receipt.to_json())
    return receipt


def _earlier_receipt(store: Store, part: Part, run: str) -> Receipt | None:
    try:
        receipt = Receipt.from_json(store.read(receipt_name(part.name)))
    except (FileNotFoundError, ValueError):  # none, or a damaged one, which proves nothing
        return None
    if receipt.run != run:
        raise OutputConflict(
            f"{store.url}: part {part.name} was committed by run {receipt.run}, this is run {run}; "
            "two runs that differ were begun under one output.path. Give each its own"
        )
    return receipt


def describe_scores(scores: np.ndarray) -> dict[str, float]:
    """How scores are distributed, so that a part unlike the others can be seen."""
    if not len(scores):
        return {}
    quantiles = np.quantile(scores, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
    names = ("min", "p05", "p25", "p50", "p75", "p95", "max")
    described = {name: round(float(value), 6) for name, value in zip(names, quantiles, strict=True)}
    described["mean"] = round(float(scores.mean(dtype=np.float64)), 6)
    described["tied"] = round(1 - len(np.unique(scores)) / len(scores), 6)
    return described


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _as_text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
