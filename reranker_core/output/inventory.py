"""The objects in an output, from one listing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from reranker_core.errors import OutputConflict, count
from reranker_core.input.plan import Part, Plan
from reranker_core.output.commit import QUARANTINE, data_name, part_of, quarantine_name, read_facts
from reranker_core.output.receipts import FOLDER as RECEIPTS
from reranker_core.output.receipts import Receipt, is_batch, is_receipt, read_receipts, receipt_name
from reranker_core.reuse.keys import FOLDER as KEYS
from reranker_core.reuse.keys import keys_name
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Listed, Store

_SHOWN = 3
# What a run writes before it commits a part. Later runs add to it or replace it.
_RECORDS = {"_run.json", "_preflight.json", "_progress.json", "_checksums.json", "_report.html"}
_FOLDERS_OF_RECORDS = ("_lease/", "_attempts/")


@dataclass
class Inventory:
    """The objects of an output.

    Attributes:
        data: data files, by part.
        receipts: names of receipts and batches.
        quarantine: names of lists of pairs without a score.
        keys: objects with the keys of parts, by name.
        foreign: names of other files that readers would read as data.

    """

    data: dict[str, Listed] = field(default_factory=dict)
    receipts: list[str] = field(default_factory=list)
    quarantine: set[str] = field(default_factory=set)
    keys: dict[str, Listed] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)

    @property
    def singles(self) -> list[str]:
        """Names of receipts that are not gathered yet."""
        return [name for name in self.receipts if not is_batch(name)]

    def matches(self, receipt: Receipt) -> bool:
        """Whether the part's data file has the size of the receipt."""
        listed = self.data.get(receipt.part)
        return listed is not None and listed.size == receipt.size

    def doubtful(self, receipt: Receipt) -> bool:
        """Whether the listing shows the same size but a different checksum: the file is damaged, or
        the ETag of the store is not the MD5 (for example with KMS encryption).
        """
        return self.data[receipt.part].md5 not in (None, receipt.md5)


def take_inventory(store: Store) -> Inventory:
    """List the output once."""
    found = Inventory()
    for listed in store.list():
        part = part_of(listed.name)
        if listed.name.startswith("_"):
            if is_receipt(listed.name):
                found.receipts.append(listed.name)
            elif listed.name.startswith(f"{QUARANTINE}/"):
                found.quarantine.add(listed.name)
            elif listed.name.startswith(f"{KEYS}/"):
                found.keys[listed.name] = listed
        elif part is None:
            found.foreign.append(listed.name)
        else:
            found.data[part] = listed
    return found


def has_parts(store: Store) -> bool:
    """Whether the output contains a receipt or a data file."""
    if next(store.list(RECEIPTS), None) is not None:
        return True
    return any(part_of(listed.name) is not None for listed in store.list())


def has_more_than_records(store: Store) -> bool:
    """Whether the output contains more than what each run writes before its first part."""
    names = (listed.name for listed in store.list())
    return any(each not in _RECORDS and not each.startswith(_FOLDERS_OF_RECORDS) for each in names)


def committed_parts(store: Store, inventory: Inventory, run: str) -> tuple[set[str], set[str]]:
    """Names of the parts that have a receipt of `run` and a matching data file, and names of the
    parts whose data file does not match.
    """
    whole: set[str] = set()
    damaged: set[str] = set()

    def is_whole(receipt: Receipt) -> bool:
        if not inventory.matches(receipt):
            return False
        if not inventory.doubtful(receipt):
            return True
        data = store.read(data_name(receipt.part))
        return hashlib.sha256(data).hexdigest() == receipt.sha256

    def ours() -> Iterator[Receipt]:
        for _, receipt in read_receipts(store, inventory.receipts):
            if receipt is not None and receipt.run == run and receipt.part in inventory.data:
                yield receipt

    def judge(receipt: Receipt) -> tuple[str, bool]:
        return receipt.part, is_whole(receipt)

    for part, found in in_parallel(judge, ours()):
        (whole if found else damaged).add(part)
    return whole, damaged - whole


@dataclass(frozen=True)
class Outstanding:
    """The remaining work of a run.

    Attributes:
        todo: the parts without a receipt, in order.
        planned: number of all parts, with and without a receipt.
        discard: parts that are no longer planned, because their shard was changed or removed, and
            parts whose data file differs from what was committed.
        singles: names of receipts that are not gathered into batches.

    """

    todo: tuple[Part, ...]
    planned: int
    discard: tuple[str, ...] = ()
    singles: tuple[str, ...] = ()

    @classmethod
    def all_of(cls, plan: Plan) -> Outstanding:
        """The work for an empty output."""
        return cls(plan.parts, len(plan.parts))


def outstanding(store: Store, plan: Plan, run: str) -> Outstanding:
    """Compare the planned parts of `run` with the objects in its output.

    Raises:
        OutputConflict: there are files that do not belong to this run.

    """
    inventory = take_inventory(store)
    done, damaged = committed_parts(store, inventory, run)
    planned = {part.name for part in plan.parts}
    stray = [part for part in inventory.data if part not in planned]
    unknown = [part for part in stray if part not in done and part not in damaged]
    foreign = [*inventory.foreign, *not_of(store, unknown, run)]
    if foreign:
        raise foreign_files(store, foreign)
    return Outstanding(
        todo=tuple(part for part in plan.parts if part.name not in done),
        planned=len(plan.parts),
        discard=(*stray, *(part for part in damaged if part in planned)),
        singles=tuple(inventory.singles),
    )


def retire(store: Store, parts: Iterable[str]) -> None:
    """Remove parts. After their keys, which belong to one data file only, data files are deleted
    first, so that an interruption leaves no part that readers see.
    """
    names = list(parts)
    store.delete(*(keys_name(part) for part in names))
    store.delete(*(data_name(part) for part in names))
    store.delete(*(receipt_name(part) for part in names))
    store.delete(*(quarantine_name(part) for part in names))


def foreign_files(store: Store, names: list[str]) -> OutputConflict:
    """The error for files that do not belong to the run."""
    return OutputConflict(
        f"output.path={store.url} contains {count(len(names), 'file')} that this run did not "
        f"write: {', '.join(sorted(names)[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}. "
        "A reader of the folder may take them for results. Move them to another folder, or choose "
        "another output.path"
    )


def not_of(store: Store, parts: list[str], run: str) -> list[str]:
    """Names of the data files of `parts` whose footer does not contain the digest of `run`."""

    def foreign(part: str) -> bool:
        try:
            facts = read_facts(store.read(data_name(part)))
        except FileNotFoundError:  # gone since it was listed
            return False
        return facts is None or (facts.part, facts.run) != (part, run)

    found = zip(parts, in_parallel(foreign, parts), strict=True)
    return [data_name(part) for part, is_foreign in found if is_foreign]
