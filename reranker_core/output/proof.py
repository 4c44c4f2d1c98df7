"""Proof that an output is complete, from its own objects only, without plan or input.

`_run.json` contains the shards and their numbers of rows. Receipts contain the rows of each part.
A listing contains the data files. The parts must cover each row of every shard exactly once, the
files must match the receipts, and their counts must be consistent.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import logging
from array import array
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reranker_core.errors import Incomplete, count, rows_text
from reranker_core.output.commit import data_name, quarantine_name
from reranker_core.output.contents import Columns, check_content
from reranker_core.output.identity import digest, planned_parts
from reranker_core.output.inventory import Inventory, foreign_files, not_of, take_inventory
from reranker_core.output.keys import check_keys
from reranker_core.output.receipts import Receipt, read_receipts
from reranker_core.output.totals import Totals
from reranker_core.reuse.keys import FOLDER as KEYS
from reranker_core.reuse.keys import keys_name
from reranker_core.storage.parallel import in_parallel
from reranker_core.storage.store import Store

log = logging.getLogger(__name__)

_SHOWN_PROBLEMS = 5
RESUME = "repeat the command that wrote it (`batch-reranker run` or `derive`)"


class _Checked(NamedTuple):
    """A receipt and what was found of it: problems, whether the data file was read, and whether its
    keys are missing.
    """

    receipt: Receipt
    problems: list[str]
    opened: bool
    lacks_keys: bool


def prove(store: Store, run: dict[str, Any], read_all: bool, may_lack_rows: bool = False) -> Totals:
    """Check receipts, listing and contents of the output of `run` against each other.

    If the listing shows the MD5 of the receipt, the file is unchanged since its content was checked
    at the commit. It is read again only if `read_all` is set. `may_lack_rows` is for outputs whose
    run is not over.

    Raises:
        Incomplete: rows of a shard are in no part or in two parts, or a file does not match its
            receipt.
        OutputConflict: there are files without a receipt.

    """
    inventory = take_inventory(store)
    totals = Totals()
    problems: list[str] = []
    wrong: dict[str, list[str]] = {}  # by part, as far as none of its receipts is right
    seen: set[tuple[str, str]] = set()
    proven: set[str] = set()
    spans: dict[str, array[int]] = defaultdict(lambda: array("q"))

    def matched() -> Iterator[Receipt]:
        for name, receipt in read_receipts(store, inventory.receipts):
            if receipt is None:
                problems.append(f"{name}: the file is damaged")
                continue
            part = receipt.part
            shard = run["input"]["shards"].get(receipt.shard)
            if shard is None or shard["etag"] != receipt.etag:
                continue  # of a shard that has changed or gone; its file would be a stray
            if receipt.run != digest(run):
                problems.append(f"{name}: {part} belongs to run {receipt.run}, not {digest(run)}")
            elif not inventory.matches(receipt):
                wrong.setdefault(part, [_mismatch(inventory, receipt)])
            elif (part, receipt.sha256) not in seen:
                seen.add((part, receipt.sha256))
                yield receipt

    def check(receipt: Receipt) -> _Checked:
        opened, lacks_keys = read_all or inventory.data[receipt.part].md5 != receipt.md5, False
        found = check_claims(receipt)
        if receipt.quarantined_pairs and quarantine_name(receipt.part) not in inventory.quarantine:
            found.append("its list of pairs without a score is missing in _quarantine")
        if opened:
            found += check_file(store, receipt, run)
        named = [f"{data_name(receipt.part)}: {problem}" for problem in found]
        if receipt.keys:
            name = keys_name(receipt.part)
            if (listed := inventory.keys.get(name)) is None:
                lacks_keys = True
            else:
                differences = check_keys(store, receipt.part, listed, receipt.keys)
                named += [f"{name}: {problem}" for problem in differences]
        return _Checked(receipt, named, opened, lacks_keys)

    for checked in in_parallel(check, matched()):
        part = checked.receipt.part
        totals.opened += checked.opened
        if checked.problems:
            wrong[part] = checked.problems
        elif part not in proven:
            proven.add(part)
            totals.add(checked.receipt)
            totals.without_keys += checked.lacks_keys
            spans[checked.receipt.shard].extend((checked.receipt.start, checked.receipt.stop))
    # A part may have an older receipt in a batch, of a file that was removed and written again.
    absent = sum(part not in proven and part not in inventory.data for part in wrong)
    problems += [text for part in wrong if part not in proven for text in wrong[part]]
    unknown = [part for part in inventory.data if part not in proven and part not in wrong]
    foreign = [*inventory.foreign, *not_of(store, unknown, digest(run))]
    if foreign:
        raise foreign_files(store, foreign)
    missing, doubled = _uncovered(run, spans)
    problems.extend(doubled)
    if problems:
        raise _damaged(store, problems, absent)
    if missing and not may_lack_rows:
        raise _incomplete(store, run, totals, missing)
    if unknown:
        raise Incomplete(
            f"output.path={store.url} is not finished: {count(len(unknown), 'file')} without a "
            f"receipt, such as {data_name(unknown[0])}. To finish or remove them, {RESUME}"
        )
    if totals.without_keys:
        log.warning(
            "%s/%s: the keys of %s are missing. The scores are complete, but later runs cannot use "
            "these scores again",
            store.shown,
            KEYS,
            count(totals.without_keys, "part"),
        )
    return totals


def check_claims(receipt: Receipt) -> list[str]:
    """Inconsistent counts within a receipt."""
    problems = []
    if receipt.rows != receipt.stop - receipt.start:
        problems.append(
            f"the receipt has {count(receipt.rows, 'row')} for "
            f"{rows_text(receipt.start, receipt.stop)} of the input"
        )
    if receipt.scored + receipt.quarantined_pairs != receipt.pairs:
        problems.append(
            f"the receipt has {receipt.pairs} pairs, but {receipt.scored} scored and "
            f"{receipt.quarantined_pairs} quarantined"
        )
    return problems


def check_file(store: Store, receipt: Receipt, run: dict[str, Any]) -> list[str]:
    """Differences of a data file and its quarantine list from the receipt."""
    data = store.read(data_name(receipt.part))
    if hashlib.sha256(data).hexdigest() != receipt.sha256:
        return [f"its content ({len(data)} bytes) differs from what was committed (SHA-256)"]
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        columns = Columns.of_run(run)
        problems = check_content(file.read(columns=columns.names), columns, receipt)
    except (pa.ArrowException, OSError, KeyError) as error:
        return [f"cannot be read as Parquet ({type(error).__name__})"]
    if receipt.quarantined_pairs:
        lines = _lines(store, quarantine_name(receipt.part))
        if lines != receipt.quarantined_pairs:
            problems.append(
                f"{lines} lines in _quarantine, but "
                f"{count(receipt.quarantined_pairs, 'pair')} without a score"
            )
    return problems


def _lines(store: Store, name: str) -> int:
    try:
        return store.read(name).count(b"\n")
    except FileNotFoundError:
        return 0


def _mismatch(inventory: Inventory, receipt: Receipt) -> str:
    listed = inventory.data.get(receipt.part)
    if listed is None:
        return f"{data_name(receipt.part)}: the file is missing"
    return (
        f"{data_name(receipt.part)}: has {listed.size} bytes (MD5 {listed.md5 or 'not listed'}), "
        f"but {receipt.size} bytes were committed (MD5 {receipt.md5})"
    )


def _uncovered(run: dict[str, Any], spans: dict[str, array[int]]) -> tuple[list[str], list[str]]:
    """Rows that are in no part, and rows that are in two."""
    missing, doubled = [], []
    for name, shard in run["input"]["shards"].items():
        covered = np.asarray(spans.get(name, ()), np.int64).reshape(-1, 2)
        covered = covered[np.argsort(covered[:, 0])]
        edges = itertools.chain([(0, 0)], map(tuple, covered), [(shard["rows"], shard["rows"])])
        for (_, stop), (start, _) in itertools.pairwise(edges):
            if start > stop:
                missing.append(f"{rows_text(stop, start)} of {name}")
            elif start < stop:
                doubled.append(f"committed twice: {rows_text(start, stop)} of {name}")
    return missing, doubled


def _damaged(store: Store, problems: list[str], absent: int) -> Incomplete:
    """`absent` of the problems are files that are missing, so there is nothing to delete."""
    shown = "\n".join(f"  {problem}" for problem in problems[:_SHOWN_PROBLEMS])
    if len(problems) > _SHOWN_PROBLEMS:
        shown += f"\n  … and {len(problems) - _SHOWN_PROBLEMS} more"
    files = "the damaged files" if absent else "these files"
    delete = f"Delete {files}, then {RESUME}"
    remedy = delete if absent < len(problems) else RESUME[0].upper() + RESUME[1:]
    return Incomplete(
        f"output.path={store.url} is damaged in {count(len(problems), 'place')}:\n{shown}\n"
        f"{remedy}. Only their rows are scored again"
    )


def _incomplete(
    store: Store, run: dict[str, Any], totals: Totals, missing: list[str]
) -> Incomplete:
    rows = sum(shard["rows"] for shard in run["input"]["shards"].values())
    planned = planned_parts(store)
    of = f" of {planned:,}" if planned is not None else ""
    share = f"{100 * totals.rows // max(rows, 1)} % of {rows:,} rows"
    more = ", and others" if len(missing) > 1 else ""
    return Incomplete(
        f"output.path={store.url} is incomplete: {totals.parts:,}{of} parts are committed "
        f"({share}). Missing: {missing[0]}{more}. To resume, {RESUME}"
    )
