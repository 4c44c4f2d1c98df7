"""The scores of other outputs that a run uses again.

Each machine builds an index of their keys (`reuse.building`) when its first process needs it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from reranker_core.config import Config
from reranker_core.errors import Incomplete, brief
from reranker_core.errors.redaction import without_credentials
from reranker_core.output.earlier_outputs import earlier_outputs, require_same_scores
from reranker_core.output.manifest import recorded_manifest
from reranker_core.output.receipts import FOLDER, read_receipts
from reranker_core.output.reuse_facts import seconds_per_pair
from reranker_core.reuse.building import Layout, index_of
from reranker_core.reuse.hashes import Hashes
from reranker_core.reuse.keys import DAY, HASH, from_binary, from_bytes, keys_name, today
from reranker_core.reuse.known import Reuse
from reranker_core.storage.local_copy import cache_folder
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)

# As replicas must agree with each other, as a fraction of the range of scores.
_TOLERANCE, _HALF_TOLERANCE = {"float32": 0.01}, 0.03
# As a fraction of the largest score: what a format rounds off, should all scores be nearly equal.
_ROUNDING, _HALF_ROUNDING = {"float32": 1e-5}, 0.01
# Of each part, the MD5 of its keys and their number; more than one if it was committed again.
Stated = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Source:
    """An earlier output.

    Attributes:
        url: of the output.
        run: digest of its identity.
        pairs: number of its keys.
        keys: digest of all its keys.
        seconds_per_pair: time of a replica for a distinct pair; 0 if unknown.
        scored_now: for the pairs that several parts of this run have: how many of them this run has
            scored. None for an earlier output.

    """

    url: str
    run: str
    pairs: int
    keys: str
    seconds_per_pair: float
    scored_now: int | None = None


@dataclass(frozen=True)
class EarlierScores:
    """Which scores a run uses again.

    Attributes:
        sources: the outputs that have them; of two scores of a pair, the newer one is used.
        layers: lower cutoff layers whose scores are needed.
        more: which of `chunks` and `lost` are needed.
        oldest: the first day, since 1970, whose scores may be used.
        check: fraction of the known pairs to score again.
        tolerance: largest difference of these scores.
        seed: of the choice of these pairs, below 2^64.

    """

    sources: tuple[Source, ...]
    layers: tuple[int, ...]
    more: tuple[str, ...]
    oldest: int
    check: float
    tolerance: float
    seed: int

    @property
    def pairs(self) -> int:
        """Number of all keys."""
        return sum(source.pairs for source in self.sources)

    def as_dicts(self) -> list[dict[str, Any]]:
        """The sources as plain data, without credentials."""
        found = [asdict(source) for source in self.sources]
        return [{**each, "url": without_credentials(each["url"])} for each in found]

    def open(self, working: Callable[[], object] = lambda: None) -> Reuse:
        """The scores from the index on this machine, which is built if it is not there.

        Args:
            working: called now and then while it is built.

        Raises:
            ConfigError: the disk is too small.
            Incomplete: keys are damaged, or have changed since the run began.

        """
        layout = Layout(self.layers, self.more)
        what = [[asdict(source) for source in self.sources], layout.scores, layout.more]
        name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
        folder = cache_folder("reuse") / name
        index = index_of(folder, layout, self.pairs, self.tables, working)
        return Reuse(index.find, self.oldest, self.check, self.tolerance, self.seed)

    def known_shares(self, groups: Sequence[Hashes]) -> list[float]:
        """The fraction of the hashes of each group that have a score. Reads all keys once, and
        keeps none.
        """
        hashes = np.concatenate([*groups, np.empty((0, 2), np.uint64)])
        found: set[tuple[int, ...]] = set()
        first = np.unique(hashes[:, 0])
        for table in self.tables():
            young = table.column(DAY).cast(pa.int32()).to_numpy() >= self.oldest
            keys = from_binary(table.column(HASH))[young]
            found.update(map(tuple, keys[np.isin(keys[:, 0], first)].tolist()))
        distinct = [set(map(tuple, group.tolist())) for group in groups]
        return [len(group & found) / max(len(group), 1) for group in distinct]

    def tables(self) -> Iterator[pa.Table]:
        """The keys of all parts of all sources."""
        for source in self.sources:
            store = Store(source.url)
            stated = _keys_of(store)
            if _digest(stated) != source.keys:
                raise Incomplete(
                    f"reuse.from: {source.url} has changed since this run began. Run the same "
                    "command again when it does not change any more"
                )

            def read(part: str, store: Store = store, stated: Stated = stated) -> pa.Table | None:
                return _read(store, part, stated[part])

            for table in in_parallel(read, sorted(stated)):
                if table is not None:
                    yield table


def earlier_scores(
    config: Config, scoring: dict[str, Any], store: Store, shared: Store | None = None
) -> tuple[EarlierScores, str] | None:
    """The scores that `reuse.from` names, and their number format; None if there are none.

    Args:
        config: of the run.
        scoring: its fingerprint. If its dtype is `auto`, that of the outputs is taken.
        store: the output of the run.
        shared: a complete output of pairs that several parts of the run have.

    Raises:
        ConfigError: an output is not complete, or its scores are not comparable.

    """
    stores = earlier_outputs(config, scoring, store)
    if shared is not None:
        stores.append(shared)
    if not stores:
        return None
    dtype: str = scoring["dtype"]
    sources, ranges = [], []
    for other in stores:
        dtype = require_same_scores(other, config, {**scoring, "dtype": dtype})
        stated = _keys_of(other)
        pairs = sum(max(each.values()) for each in stated.values())
        manifest = recorded_manifest(other)
        if not pairs:
            log.warning(
                "reuse.from: %s has no keys, so nothing is used again. `batch-reranker derive %s "
                "--to NEW reuse.keep=true` writes an output with keys",
                *(other.shown, other.shown),
            )
        sources.append(
            Source(
                url=other.url,
                run=str(manifest.get("run", "")),
                pairs=pairs,
                keys=_digest(stated),
                seconds_per_pair=seconds_per_pair(manifest),
                scored_now=int(manifest["distinct_pairs"]) if other is shared else None,
            )
        )
        scores = manifest.get("scores") or {}
        ranges.append((scores.get("min", 0.0), scores.get("max", 0.0)))
    age = config.reuse.max_age_days
    wanted = {"chunks": config.output.chunks, "lost": config.output.tokens_lost}
    found_scores = EarlierScores(
        sources=tuple(sources),
        layers=tuple(config.model.cutoff_layers[:-1]),
        more=tuple(name for name, is_wanted in wanted.items() if is_wanted),
        oldest=0 if age is None else today() - age,
        check=config.reuse.check,
        tolerance=_tolerance(ranges, dtype),
        seed=_seed(store, sources),
    )
    return found_scores, dtype


def _seed(store: Store, sources: list[Source]) -> int:
    """The same one when a run is resumed, so that a difference that has ended it is found again;
    another one for another output, so that over many nights all pairs are compared.
    """
    whole = json.dumps([store.url, *map(asdict, sources)])
    return int.from_bytes(hashlib.sha256(whole.encode()).digest()[:8])


def _tolerance(ranges: list[tuple[float, float]], dtype: str) -> float:
    """Largest difference between a score of the outputs and the same one, computed again."""
    spread = max(high - low for low, high in ranges)
    largest = max(abs(score) for both in ranges for score in both)
    rounding = _ROUNDING.get(dtype, _HALF_ROUNDING) * (largest or 1.0)
    return max(_TOLERANCE.get(dtype, _HALF_TOLERANCE) * spread, rounding)


def _keys_of(store: Store) -> Stated:
    """What the receipts say of the keys of each part."""
    stated: Stated = defaultdict(dict)
    for _, receipt in read_receipts(store, [listed.name for listed in store.list(FOLDER)]):
        if receipt is not None and receipt.keys:
            stated[receipt.part][receipt.keys["md5"]] = receipt.keys["pairs"]
    return dict(stated)


def _digest(stated: Stated) -> str:
    whole = json.dumps(sorted((part, sorted(each)) for part, each in stated.items()))
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


def _read(store: Store, part: str, stated: dict[str, int]) -> pa.Table | None:
    """The keys of a part, or None if they are missing.

    Raises:
        Incomplete: they are not those that a receipt names.

    """
    name = keys_name(part)
    try:
        data = store.read(name)
    except FileNotFoundError:
        return None
    if hashlib.md5(data, usedforsecurity=False).hexdigest() not in stated:
        raise Incomplete(
            f"reuse.from: {store.url}/{name} is damaged: it differs from what was committed (MD5). "
            "Delete this file. Its pairs are then scored again"
        )
    try:
        return from_bytes(data)
    except (pa.ArrowException, OSError) as error:
        raise Incomplete(f"reuse.from: {store.url}/{name} cannot be read: {brief(error)}") from None
