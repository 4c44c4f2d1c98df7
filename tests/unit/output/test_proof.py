"""What is proven of an output, from its objects alone: each kind of damage is found and named."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reranker_core.errors import Incomplete, OutputConflict
from reranker_core.output.commit import data_name, quarantine_name
from reranker_core.output.inventory import outstanding
from reranker_core.output.proof import prove
from reranker_core.output.receipts import Receipt, receipt_name
from tests.outputs import Output
from tests.tables import flat, nested, write


@pytest.fixture
def output(tmp_path: Path) -> Output:
    write(tmp_path / "in" / "a.parquet", flat(10))
    write(tmp_path / "in" / "b.parquet", flat(10, first=100))
    settings = ("output.rank=true", "output.normalize=sigmoid")
    found = Output(tmp_path / "in", tmp_path / "out", *settings)
    found.claim()
    found.commit_all(bad=1)
    return found


def proven(output: Output, read_all: bool = False):
    return prove(output.store, output.run, read_all)


def rewrite(output: Output, edit) -> str:
    """Replace the first part's rows by what `edit` makes of them, and its receipt's checksums to
    match: as a writer that is wrong would.
    """
    part = output.plan.parts[0]
    name = data_name(part.name)
    table = edit(pq.read_table(io.BytesIO(output.store.read(name))))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    data = sink.getvalue()
    output.store.write(name, data)
    receipt = Receipt.from_json(output.store.read(receipt_name(part.name)))
    sums = {"sha256": hashlib.sha256(data), "md5": hashlib.md5(data)}
    changes = {key: value.hexdigest() for key, value in sums.items()}
    put(output, replace(receipt, size=len(data), **changes))
    return name


def put(output: Output, receipt: Receipt) -> None:
    output.store.write(receipt_name(receipt.part), receipt.to_json())


def first_receipt(output: Output) -> Receipt:
    return Receipt.from_json(output.store.read(receipt_name(output.plan.parts[0].name)))


def change(column: str, row: int, value):
    def edit(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        values[row] = value
        index = table.column_names.index(column)
        return table.set_column(index, column, pa.array(values, table[column].type))

    return edit


def test_a_whole_output_is_proven(output: Output):
    totals = proven(output)
    assert (totals.rows, totals.scored, dict(totals.quarantined)) == (20, 19, {"not_finite": 1})


def test_neither_input_nor_plan_is_needed(output: Output):
    for shard in (Path(output.plan.shards[0].file.url), Path(output.plan.shards[1].file.url)):
        shard.unlink()
    assert proven(output).rows == 20


def test_a_nested_output_is_proven(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", nested([3, 0, 2, 4, 1]))
    found = Output(tmp_path / "in", tmp_path / "out", "output.rank=true")
    found.claim()
    found.commit_all(bad=1)
    assert (proven(found).rows, proven(found).pairs) == (5, 10)
    rewrite(found, change("rank", 0, [None, 2, 2]))
    with pytest.raises(Incomplete, match="ranks do not match"):
        proven(found)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (change("score", 1, float("nan")), "a score is NaN or infinite"),
        (change("score", 1, float("-inf")), "a score is NaN or infinite"),
        (change("score", 1, None), "a score is missing, or a pair"),
        (change("score", 0, 1.0), "a score is missing, or a pair"),
        (change("score_normalized", 1, float("nan")), "normalized score is NaN or infinite"),
        (change("rank", 2, 2), "ranks do not match the scores"),
        (change("score", 2, -1e9), "ranks do not match the scores"),
        (change("status", 1, "null_query"), "but the receipt has"),
        (lambda table: table.slice(1), "3 rows, but the receipt has 4"),
        (lambda table: table.drop_columns(["status"]), "cannot be read"),
    ],
)
def test_rows_that_are_wrong_are_told(output: Output, edit, told: str):
    name = rewrite(output, edit)
    with pytest.raises(Incomplete, match=told) as caught:
        proven(output)
    assert name in str(caught.value)


def test_a_single_byte_is_told(output: Output):
    name = data_name(output.plan.parts[3].name)
    data = bytearray(output.store.read(name))
    data[40] ^= 1
    output.store.write(name, bytes(data))
    with pytest.raises(Incomplete, match="SHA-256"):
        proven(output)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scored": 4}, "the receipt has 4 pairs, but"),
        ({"rows": 3}, "3 rows for rows 0 to 3 of the input"),
        ({"run": "0123"}, "belongs to run 0123"),
        ({"start": 1, "stop": 5}, "committed twice: row 4 of a.parquet"),
        ({"start": 0, "stop": 5}, "4 rows for rows 0 to 4 of the input"),
        ({"shard": "b.parquet"}, "Missing: rows 0 to 3 of a.parquet"),
    ],
)
def test_receipts_that_are_wrong_are_told(output: Output, changes: dict, told: str):
    put(output, replace(first_receipt(output), **changes))
    with pytest.raises(Incomplete, match=told):
        proven(output)


def test_a_part_that_is_there_twice_is_told(output: Output):
    part = output.plan.parts[1]
    copied = Receipt.from_json(output.store.read(receipt_name(part.name)))
    output.store.write("copy.parquet", output.store.read(data_name(part.name)))
    put(output, replace(copied, part="copy"))
    with pytest.raises(Incomplete, match=r"committed twice: rows 4 to 7 of a\.parquet"):
        proven(output)


def test_a_damaged_receipt_is_told(output: Output):
    name = receipt_name(output.plan.parts[0].name)
    output.store.write(name, output.store.read(name)[:-9])
    with pytest.raises(Incomplete, match=f"{name}: the file is damaged"):
        proven(output)


def test_a_quarantine_list_that_is_gone_or_short_is_told(output: Output):
    name = quarantine_name(output.plan.parts[0].name)
    output.store.write(name, b"")
    with pytest.raises(Incomplete, match="0 lines in _quarantine, but 1 pair without"):
        proven(output)
    output.store.delete(name)
    with pytest.raises(Incomplete, match="is missing in _quarantine"):
        proven(output)


@pytest.mark.parametrize("name", ["more.parquet", "notes.txt", "deeper/x.parquet"])
def test_what_is_not_of_the_run_is_a_conflict(output: Output, name: str):
    output.store.write(name, b"PAR1")
    with pytest.raises(OutputConflict, match=name):
        proven(output)


def test_a_receipt_of_what_a_shard_was_before_does_not_count(output: Output):
    old = replace(first_receipt(output), part="a-before", etag="before")
    put(output, old)
    assert proven(output).parts == 6


def test_a_file_of_what_a_shard_was_before_is_told(output: Output, tmp_path: Path):
    before = output.plan.parts[0]
    output.commit(replace(before, name="a-before"))
    output.store.delete(receipt_name("a-before"))
    with pytest.raises(Incomplete, match=r"1 file without a receipt, such as a-before\.parquet"):
        proven(output)


def test_receipts_count_once_in_batches_and_alone(output: Output):
    receipts = [
        Receipt.from_json(output.store.read(receipt_name(part.name))) for part in output.plan.parts
    ]
    lines = b"".join(receipt.to_json() + b"\n" for receipt in receipts[:4])
    output.store.write("_receipts/batch-0.jsonl", lines)
    assert proven(output).parts == 6
    output.store.delete(*(receipt_name(receipt.part) for receipt in receipts[:4]))
    assert proven(output).parts == 6


@pytest.mark.parametrize("older", ["_receipts/batch-0.jsonl", "_receipts/batch-z.jsonl"])
def test_an_older_receipt_of_equal_size_damns_no_part(output: Output, older: str):
    """As after a data file was removed and its part scored again."""
    receipt, expected = first_receipt(output), proven(output)
    stale = replace(receipt, sha256="0" * 64, md5="0" * 32, scored=receipt.scored - 1)
    output.store.write(older, stale.to_json() + b"\n")
    found = proven(output)
    assert (found.parts, found.scored) == (expected.parts, expected.scored)
    output.store.write(data_name(receipt.part), b"x" * receipt.size)
    with pytest.raises(Incomplete, match="is damaged in"):
        proven(output)


def test_only_files_that_exist_are_to_be_deleted(output: Output):
    first, second = (data_name(part.name) for part in output.plan.parts[:2])
    output.store.delete(first)
    with pytest.raises(Incomplete, match=rf"{first}: the file is missing\nRepeat the command"):
        proven(output)
    output.store.write(second, b"x")
    with pytest.raises(Incomplete, match=r"\nDelete the damaged files, then repeat"):
        proven(output)
    output.store.delete(second)
    output.drive()
    assert proven(output).parts == 6


def test_a_receipt_holds_nothing_of_the_text(output: Output):
    assert "passage" not in json.dumps(asdict(first_receipt(output)))


def test_a_checksum_in_the_listing_that_is_no_md5_damns_no_file(
    output: Output, monkeypatch: pytest.MonkeyPatch
):
    """As where a KMS encrypts: the ETag looks like an MD5 and is none."""
    monkeypatch.setattr("reranker_core.storage.store._md5", lambda info: "0" * 32)
    parts = {part.name for part in output.plan.parts}
    assert proven(output).opened == len(parts)
    left = outstanding(output.store, output.plan, output.digest)
    assert (left.todo, left.discard) == ((), ())

    name = data_name(output.plan.parts[0].name)
    data = bytearray(output.store.read(name))
    data[len(data) // 2] ^= 1
    output.store.write(name, bytes(data))
    left = outstanding(output.store, output.plan, output.digest)
    assert [part.name for part in left.todo] == [*left.discard] == [output.plan.parts[0].name]
