"""Receipts: the facts of each committed part, without opening its file.

_receipts/<part>.json             written when the part is committed
_receipts/batch-<number>.jsonl    1,000 receipts, merged by the driver: to resume or verify a run
                                  with a million parts, only a thousand objects are read
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store

FOLDER = "_receipts"
BATCH = 1000
_BATCH_PREFIX = f"{FOLDER}/batch-"


@dataclass(frozen=True)
class Facts:
    """The facts of a part that its data file contains in the Parquet footer.

    Attributes:
        part: its name; the data file is `<part>.parquet`.
        run: the digest of the run's identity.
        shard, etag: the input shard and its state.
        start, stop: the input rows, `stop` exclusive.
        rows, pairs: counts of the data file.
        scored, quarantined: pairs with a score; pairs without one, by reason.
        rescued: scores that were not finite at first and were computed again in float32.
        distinct, tokens: sequences that were run through the model, and their tokens.
        scores: count, min, mean, max and quantiles of the part's scores, share of tied scores.
        reuse: `pairs`, the distinct pairs with the score of an earlier output; `checked`, how many
            of them were run through the model to compare; `oldest`, the first day of such a score
            since 1970, or of all scores that were derived. Empty without such scores.

    """

    part: str
    run: str
    shard: str
    etag: str
    start: int
    stop: int
    rows: int
    pairs: int
    scored: int
    quarantined: dict[str, int]
    rescued: int
    distinct: int
    tokens: int
    scores: dict[str, float]
    reuse: dict[str, int] = field(default_factory=dict, kw_only=True)

    def footer(self) -> bytes:
        """As they are in the footer: as earlier versions wrote them, where nothing is reused."""
        found = asdict(self)
        return json.dumps({k: v for k, v in found.items() if k != "reuse" or v}).encode()


@dataclass(frozen=True)
class Receipt(Facts):
    """Proof that a part is complete: the facts of its data file, with size and checksums.

    Attributes:
        size, sha256, md5: of the data file; the size in bytes. Object stores list the MD5 of each
            object, which verifies a file without reading it.
        computed_tokens: tokens that the model computed, including padding.
        seconds: time of the replica for this part.
        waited: seconds that the replica waited for this part; 0 for its first part.
        special_tokens_in_text: pairs with the text of a special token in query or passage; 0 in
            receipts of earlier versions, which did not count them.
        keys: size and MD5 of the part's keys, and their number (`pairs`); empty without keys.

    """

    size: int
    sha256: str
    md5: str
    computed_tokens: int
    seconds: float
    waited: float
    special_tokens_in_text: int = 0
    keys: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The stored form."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> Receipt:
        """The inverse of `to_json`. Raises ValueError if the data is not a receipt."""
        try:
            return cls(**json.loads(data))
        except TypeError as error:
            raise ValueError(str(error)) from None

    @property
    def quarantined_pairs(self) -> int:
        """Pairs without a score, for any reason."""
        return sum(self.quarantined.values())


def receipt_name(part: str) -> str:
    """The name of a part's own receipt below the output."""
    return f"{FOLDER}/{part}.json"


def is_receipt(name: str) -> bool:
    """Whether `name` is the name of a receipt or of a batch."""
    return name.startswith(f"{FOLDER}/")


def is_batch(name: str) -> bool:
    """Whether `name` is the name of a batch."""
    return name.startswith(_BATCH_PREFIX)


def read_receipts(store: Store, names: list[str]) -> Iterator[tuple[str, Receipt | None]]:
    """All receipts in the objects `names`, each with its object; None for a damaged one.
    A part can occur twice if merging was interrupted.
    """

    def read(name: str) -> list[tuple[str, Receipt | None]]:
        try:
            data = store.read(name)
            lines = data.splitlines() if is_batch(name) else [data]
            return [(name, Receipt.from_json(line)) for line in lines]
        except FileNotFoundError:  # gathered into a batch, or retired, since it was listed
            return []
        except ValueError:
            return [(name, None)]

    for found in in_parallel(read, names):
        yield from found


class Gatherer:
    """Merges single receipts into batches of 1,000 during a run."""

    def __init__(self, store: Store, singles: list[str]) -> None:
        self._store = store
        self._waiting: dict[str, Receipt] = {}
        if len(singles) >= BATCH:  # of sessions that ended before they could gather them
            for _, receipt in read_receipts(store, singles):
                if receipt is not None:
                    self.add(receipt)

    def add(self, receipt: Receipt) -> None:
        """Add a receipt that has been written."""
        self._waiting[receipt.part] = receipt
        if len(self._waiting) >= BATCH:
            self._gather()

    def _gather(self) -> None:
        # The batch is complete before what it replaces goes, so that no receipt is ever missing.
        lines = b"".join(receipt.to_json() + b"\n" for receipt in self._waiting.values())
        self._store.write(f"{_BATCH_PREFIX}{uuid.uuid4().hex}.jsonl", lines)
        self._store.delete(*(receipt_name(part) for part in self._waiting))
        self._waiting.clear()
