"""An output gets other columns in its place, whatever interrupts that."""

from __future__ import annotations

from pathlib import Path

import pytest

from reranker_core.errors import Incomplete
from reranker_core.input.reading import read_parts
from reranker_core.output.commit import commit
from reranker_core.output.derivation import derivation_in_place, take_scores
from reranker_core.output.identity import claim, digest, recorded
from reranker_core.output.manifest import SUCCESS, conclude, verify
from reranker_core.output.proof import prove
from reranker_core.output.replacement import (
    begun,
    derived_store,
    discard,
    is_pending,
    make_ready,
    put_in_place,
)
from reranker_core.storage.store import Store
from tests.outputs import Output, sizes
from tests.tables import flat, write

COLUMNS = ("output.rank=true", "output.normalize=sigmoid", "output.text=true")
LIMIT = "guard.max_quarantined_fraction=1"


class Killed(BaseException):
    """Ends a test's driver."""


def old_and_new(folder: Path, skip: int | None = None) -> tuple[Output, Output]:
    """A scored output, whose part `skip` is missing, and what it is to become."""
    write(folder / "in" / "a.parquet", flat(22, per_query=3, lang=["en", "de"] * 11))
    old = Output(folder / "in", folder / "out", LIMIT)
    old.claim()
    old.commit_all(skip=skip, bad=1)
    return old, Output(folder / "in", folder / "out", LIMIT, *COLUMNS)


def derive(old: Output, new: Output) -> None:
    """All that can be derived, proven and ready."""
    found = derivation_in_place(old.store, new.config, new.plan, new.run["fingerprint"])
    target = derived_store(old.store)
    claim(target, new.run, None)
    for part in found.parts:
        ((_, table),) = read_parts([part], new.plan.schema.columns)
        scored, measures = take_scores(found.source, part, table, new.plan.schema, new.config)
        commit(target, part, scored, new.plan.schema, new.config.output, measures, digest(new.run))
    prove(target, new.run, True, may_lack_rows=True)
    make_ready(old.store)


def put(output: Output) -> None:
    put_in_place(output.store, lambda: None)


def test_the_output_is_what_a_run_with_these_columns_would_have_written(tmp_path):
    old, new = old_and_new(tmp_path)
    scored = Output(tmp_path / "in", tmp_path / "scored", LIMIT, *COLUMNS)
    scored.claim()
    scored.commit_all(bad=1)
    derive(old, new)
    put(old)
    assert recorded(old.store) == new.run
    assert [table.to_pylist() for table in new.tables()] == [
        table.to_pylist() for table in scored.tables()
    ]
    totals = conclude(new.store, new.run, new.config, {})
    assert totals.keys == 21
    assert totals.without_keys == 0
    assert totals.quarantined == {"not_finite": 1}
    assert (totals.computed_tokens, totals.seconds) == (
        pytest.approx(660, abs=3),
        pytest.approx(3, abs=1e-3),
    )
    assert not any(name.startswith("_derived") for name in sizes(old.store))
    assert not (tmp_path / "out" / "_derived").exists()


def test_killed_at_any_moment_it_is_put_in_place_by_the_next_run(tmp_path, monkeypatch):
    old, new = old_and_new(tmp_path)
    derive(old, new)
    made = Store._try
    kills = 0
    left = 0

    def counted(self, *arguments, **named):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return made(self, *arguments, **named)

    monkeypatch.setattr(Store, "_try", counted)
    while True:
        # Each run starts with what the killed one has left, and does one step more.
        kills += 1
        left = kills
        try:
            put(old)
            break
        except Killed:
            left = 1000
            if not is_pending(old.store):  # killed while it tidied up
                discard(old.store)
                break
            with pytest.raises(Incomplete, match="being put in place"):
                verify(old.store, old.run, old.config)
    monkeypatch.undo()
    assert kills > 20
    assert conclude(new.store, new.run, new.config, {}).pairs == 22
    assert old.store.exists(SUCCESS)
    assert not any(name.startswith("_derived") for name in sizes(old.store))


def test_parts_that_are_missing_are_left_to_the_run(tmp_path):
    old, new = old_and_new(tmp_path, skip=2)
    derive(old, new)
    put(old)
    prove(new.store, new.run, True, may_lack_rows=True)
    with pytest.raises(Incomplete, match="are committed"):
        prove(new.store, new.run, True)
    left = [part for part in new.plan.parts if f"{part.name}.parquet" not in sizes(new.store)]
    assert 0 < len(left) < 3
    for part in left:
        new.commit(part)
    assert conclude(new.store, new.run, new.config, {}).rows == 22


def test_a_derived_output_that_was_given_up_is_removed_and_one_that_is_damaged_begun_again(
    tmp_path,
):
    old, new = old_and_new(tmp_path)
    before = sizes(old.store)
    claim(derived_store(old.store), new.run, None)
    assert begun(old.store) == new.run
    derived_store(old.store).write("_run.json", b"{")
    assert begun(old.store) is None
    discard(old.store)
    assert sizes(old.store) == before
    assert begun(old.store) is None


def test_reading_a_file_that_is_lost_stops_before_anything_is_replaced(tmp_path):
    old, new = old_and_new(tmp_path)
    found = derivation_in_place(old.store, new.config, new.plan, new.run["fingerprint"])
    (first, *_) = found.parts
    old.store.write(f"{old.plan.parts[0].name}.parquet", b"PAR1")
    ((_, table),) = read_parts([first], new.plan.schema.columns)
    with pytest.raises(Incomplete, match="cannot be read"):
        take_scores(found.source, first, table, new.plan.schema, new.config)
    again = derivation_in_place(old.store, new.config, new.plan, new.run["fingerprint"])
    assert first not in again.parts
