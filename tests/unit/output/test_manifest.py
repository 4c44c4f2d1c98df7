"""The end of a run: what is proven before `_SUCCESS`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reranker_core.errors import Incomplete, OutputConflict, QuarantineExceeded
from reranker_core.output.commit import data_name, part_of
from reranker_core.output.manifest import MANIFEST, SUCCESS, conclude, verify
from reranker_core.output.receipts import receipt_name
from tests.outputs import Output, sizes
from tests.tables import flat, write


class Run(Output):
    """Two shards of ten rows in six parts of four rows or fewer."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        write(folder / "in" / "a.parquet", flat(10))
        write(folder / "in" / "b.parquet", flat(10, first=100))
        settings = ("guard.max_quarantined_fraction=0.1", *overrides)
        super().__init__(folder / "in", folder / "out", *settings)
        self.claim()

    def conclude(self, limit: float | None = None, **facts: Any) -> Any:
        return conclude(self.store, self.run, self._limited(limit), facts)

    def verify(self, limit: float | None = None) -> Any:
        return verify(self.store, self.run, self._limited(limit))

    def _limited(self, limit: float | None) -> Any:
        if limit is None:
            return self.config
        guard = self.config.guard.model_copy(update={"max_quarantined_fraction": limit})
        return self.config.model_copy(update={"guard": guard})

    def manifest(self) -> dict[str, Any]:
        return json.loads(self.store.read(MANIFEST))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_a_complete_run_succeeds(run: Run):
    run.commit_all()
    run.conclude()
    assert run.store.exists(SUCCESS)
    assert run.manifest()["state"] == "complete"


def test_totals_are_sums_over_the_receipts(run: Run):
    run.commit_all(bad=1)
    totals = run.conclude()
    assert (totals.parts, totals.rows, totals.pairs, totals.scored) == (6, 20, 20, 19)
    assert (totals.distinct, totals.tokens, totals.rescued) == (24, 600, 0)
    assert totals.quarantined == {"not_finite": 1}
    assert totals.quarantined_fraction == 0.05


def test_the_manifest_holds_totals_and_facts(run: Run):
    run.commit_all(bad=1)
    run.conclude(replicas=3, dtype="bfloat16")
    found = run.manifest()
    assert (found["rows"], found["scored"], found["parts"], found["shards"]) == (20, 19, 6, 2)
    assert found["quarantined"] == {"not_finite": 1}
    assert (found["run"], found["replicas"], found["dtype"]) == (run.digest, 3, "bfloat16")
    data = [size for name, size in sizes(run.store).items() if part_of(name)]
    assert found["bytes"] == sum(data)


@pytest.mark.parametrize("skip", [0, 3, 5])
def test_a_part_without_a_receipt_is_named(run: Run, skip: int):
    run.commit_all(skip=skip)
    with pytest.raises(Incomplete, match=r"rows . to .* of .\.parquet") as caught:
        run.conclude()
    assert caught.value.retryable
    assert not run.store.exists(SUCCESS)
    assert not run.store.exists(MANIFEST)


def test_a_data_file_without_a_receipt_does_not_count(run: Run):
    run.commit_all()
    part = run.plan.parts[2]
    run.store.filesystem.rm(run.store.path(receipt_name(part.name)))
    missing = f"rows {part.start} to {part.stop - 1} of {part.shard_name}"
    with pytest.raises(Incomplete, match=missing):
        run.conclude()


def test_what_was_missing_can_be_committed_later(run: Run):
    run.commit_all(skip=2)
    with pytest.raises(Incomplete):
        run.conclude()
    run.commit_all()
    assert run.conclude().parts == 6


def test_a_file_of_somebody_else_is_a_conflict(run: Run):
    run.commit_all()
    run.store.write("old-part.parquet", b"PAR1")
    with pytest.raises(OutputConflict, match=r"old-part\.parquet"):
        run.conclude()
    assert not run.store.exists(SUCCESS)


def test_companions_are_no_conflict(run: Run):
    run.commit_all()
    run.store.write("_notes/readme.txt", b"mine")
    run.store.write("_run.json", b"{}")
    assert run.conclude()


def test_hidden_files_are_no_conflict(run: Run):
    run.commit_all()
    run.store.write(".DS_Store", b"x")
    assert run.conclude()


def test_a_data_file_that_is_gone_is_named(run: Run):
    run.commit_all()
    part = run.plan.parts[1]
    run.store.filesystem.rm(run.store.path(data_name(part.name)))
    with pytest.raises(Incomplete, match=data_name(part.name)):
        run.conclude()
    assert not run.store.exists(SUCCESS)


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing else"])
def test_a_data_file_that_is_damaged_is_named(run: Run, content: bytes):
    run.commit_all()
    part = run.plan.parts[1]
    run.store.write(data_name(part.name), content)
    with pytest.raises(Incomplete, match=data_name(part.name)):
        run.conclude()


def test_a_data_file_with_a_damaged_end_of_the_same_length_is_named(run: Run):
    run.commit_all()
    name = data_name(run.plan.parts[1].name)
    data = run.store.read(name)
    run.store.write(name, data[:-20] + b"\0" * 20)
    with pytest.raises(Incomplete, match=name):
        run.conclude()


def test_a_data_file_with_the_rows_of_another_part_is_named(run: Run):
    run.commit_all()
    first, second = run.plan.parts[0], run.plan.parts[2]
    assert first.rows != second.rows
    run.store.write(data_name(first.name), run.store.read(data_name(second.name)))
    with pytest.raises(Incomplete, match=data_name(first.name)):
        run.conclude()


def test_a_receipt_whose_pairs_do_not_add_up_is_named(run: Run):
    run.commit_all()
    name = receipt_name(run.plan.parts[0].name)
    receipt = json.loads(run.store.read(name))
    run.store.write(name, json.dumps(receipt | {"scored": receipt["scored"] - 1}).encode())
    with pytest.raises(Incomplete, match=run.plan.parts[0].name):
        run.conclude()


def test_a_receipt_of_another_plan_s_rows_is_named(run: Run):
    run.commit_all()
    name = receipt_name(run.plan.parts[0].name)
    receipt = json.loads(run.store.read(name))
    run.store.write(name, json.dumps(receipt | {"rows": receipt["rows"] + 1}).encode())
    with pytest.raises(Incomplete, match=run.plan.parts[0].name):
        run.conclude()


def test_over_the_limit_there_is_a_manifest_and_no_success(run: Run):
    run.commit_all(bad=3)
    with pytest.raises(QuarantineExceeded, match=r"3 of 20 pairs \(15\.00%\)") as caught:
        run.conclude()
    assert "not_finite" in str(caught.value)
    assert not run.store.exists(SUCCESS)
    assert run.manifest()["state"] == "over_quarantine_limit"


def test_raising_the_limit_then_succeeds(run: Run):
    run.commit_all(bad=3)
    with pytest.raises(QuarantineExceeded):
        run.conclude()
    run.conclude(limit=0.2)
    assert run.store.exists(SUCCESS)
    assert run.manifest()["state"] == "complete"


def test_exactly_the_limit_is_allowed(run: Run):
    run.commit_all(bad=2)
    assert run.conclude(limit=0.1).quarantined_fraction == 0.1


def test_an_earlier_success_does_not_outlive_a_later_failure(run: Run):
    run.commit_all(bad=2)
    run.conclude()
    with pytest.raises(QuarantineExceeded):
        run.conclude(limit=0.0)
    assert not run.store.exists(SUCCESS)


def test_a_run_over_nothing_succeeds(tmp_path: Path):
    write(tmp_path / "in" / "a.parquet", flat(0).cast(flat(1).schema))
    output = Output(tmp_path / "in", tmp_path / "out")
    totals = conclude(output.store, output.run, output.config, {})
    assert (totals.parts, totals.quarantined_fraction) == (0, 0)
    assert output.store.exists(SUCCESS)


def test_verifying_finds_what_was_concluded_and_changes_nothing(run: Run):
    run.commit_all(bad=1)
    concluded = run.conclude()
    before = {name: run.store.read(name) for name in sizes(run.store)}
    assert run.verify() == concluded
    assert {name: run.store.read(name) for name in sizes(run.store)} == before


def test_verifying_a_run_that_was_not_concluded_says_so(run: Run):
    run.commit_all()
    with pytest.raises(Incomplete, match="_SUCCESS is missing"):
        run.verify()


def test_verifying_keeps_to_the_quarantine_limit(run: Run):
    run.commit_all(bad=2)
    run.conclude()
    with pytest.raises(QuarantineExceeded, match=r"2 of .* \(2 not_finite\), more than .*=0 "):
        run.verify(limit=0.0)
    assert run.store.exists(SUCCESS)
