"""Receipts, alone and gathered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reranker_core.output import receipts
from reranker_core.output.receipts import Gatherer, Receipt, is_batch, read_receipts, receipt_name
from reranker_core.storage.store import Store
from tests.outputs import sizes


def receipt(number: int) -> Receipt:
    values = dict.fromkeys(Receipt.__dataclass_fields__, 0)
    return Receipt(**(values | {"part": f"p{number}", "quarantined": {}, "scores": {}}))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "BATCH", 10)


def put(store: Store, numbers: range) -> list[Receipt]:
    written = [receipt(number) for number in numbers]
    for each in written:
        store.write(receipt_name(each.part), each.to_json())
    return written


def parts(store: Store) -> list[str]:
    found = read_receipts(store, list(sizes(store)))
    return sorted(each.part for _, each in found if each)


def test_a_few_receipts_stay_as_they_are(store: Store):
    gatherer = Gatherer(store, [])
    for each in put(store, range(9)):
        gatherer.add(each)
    assert len(sizes(store)) == 9


def test_many_become_batches(store: Store):
    gatherer = Gatherer(store, [])
    for each in put(store, range(25)):
        gatherer.add(each)
    names = list(sizes(store))
    assert sum(is_batch(name) for name in names) == 2
    assert len(names) == 2 + 5
    assert len(parts(store)) == 25


def test_what_earlier_sessions_left_is_gathered_too(store: Store):
    put(store, range(12))
    Gatherer(store, list(sizes(store)))
    assert len(sizes(store)) == 1 + 2
    assert len(parts(store)) == 12


def test_at_no_moment_is_a_receipt_missing(store: Store, monkeypatch: pytest.MonkeyPatch):
    before = put(store, range(10))
    delete = Store.delete

    def cut(self: Store, *names: str) -> None:
        assert len(set(parts(self))) == 10
        delete(self, *names[:3])
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "delete", cut)
    gatherer = Gatherer(store, [])
    for each in before[:-1]:
        gatherer.add(each)
    with pytest.raises(KeyboardInterrupt):
        gatherer.add(before[-1])
    assert len(set(parts(store))) == 10


def test_a_damaged_line_makes_the_batch_damaged_and_is_named(store: Store):
    store.write("_receipts/batch-0.jsonl", receipt(1).to_json() + b"\n{")
    assert list(read_receipts(store, list(sizes(store)))) == [("_receipts/batch-0.jsonl", None)]


def test_a_receipt_that_was_gathered_since_it_was_listed_is_passed_over(store: Store):
    put(store, range(3))
    names = list(sizes(store))
    store.delete(names[0])
    assert len(list(read_receipts(store, names))) == 2


def test_a_receipt_survives_json():
    full = replace(receipt(1), quarantined={"null_query": 2}, scores={"min": -1.5})
    assert Receipt.from_json(full.to_json()) == full
    with pytest.raises(ValueError, match="part"):
        Receipt.from_json(b"{}")


def test_receipts_from_before_special_tokens_were_counted_are_receipts():
    full = receipt(1)
    fields = json.loads(full.to_json())
    del fields["special_tokens_in_text"]
    assert Receipt.from_json(json.dumps(fields)) == replace(full, special_tokens_in_text=0)
