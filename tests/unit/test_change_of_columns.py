"""What a run finds that differs from its output in columns that come from the scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from reranker_core.errors import OutputConflict
from reranker_core.prepare import prepare
from tests.begun import begin, finish, settings
from tests.tables import flat, write


@pytest.fixture
def folder(tmp_path: Path, bert: Path) -> Path:
    """An output whose fourth part is missing."""
    for number, name in enumerate("ab"):
        table = flat(10, per_query=5, first=10 * number)
        write(tmp_path / "in" / f"{name}.parquet", table)
    first = prepare(settings(tmp_path, bert))
    begin(first)
    finish(first, 0, 1, 2)
    return tmp_path


@pytest.mark.parametrize(
    "setting",
    [
        "output.rank=true",
        "output.normalize=sigmoid",
        "output.label_thresholds=[0.5]",
        "output.text=true",
        "output.passthrough=[]",
        "output.columns.score=relevance",
    ],
)
def test_only_what_has_no_score_is_scored(folder: Path, bert: Path, setting: str):
    found = prepare(settings(folder, bert, setting))
    assert found.derivation is not None
    assert found.derivation.parts == found.plan.parts[:3]
    assert found.todo == found.plan.parts[3:]


def test_nothing_is_derived_where_no_column_differs(folder: Path, bert: Path):
    assert prepare(settings(folder, bert)).derivation is None
    other = settings(folder, bert, f"output.path={folder / 'new'}", "output.rank=true")
    assert prepare(other).derivation is None


@pytest.mark.parametrize(
    "more",
    ["output.tokens_lost=true", "output.chunks=true", "model.max_length=32", "plan.part_rows=4"],
)
def test_what_the_scores_cannot_give_is_refused(folder: Path, bert: Path, more: str):
    with pytest.raises(OutputConflict) as caught:
        prepare(settings(folder, bert, "output.rank=true", more))
    assert more.partition("=")[0] in str(caught.value)
    assert "batch-reranker derive" not in str(caught.value)


def test_shards_that_changed_are_scored_and_the_others_derived_if_that_is_asked_for(
    folder: Path, bert: Path
):
    write(folder / "in" / "a.parquet", flat(10, per_query=5, first=50))
    with pytest.raises(OutputConflict, match=r"input\.changed=rescore"):
        prepare(settings(folder, bert, "output.rank=true"))
    found = prepare(settings(folder, bert, "output.rank=true", "input.changed=rescore"))
    assert found.derivation is not None
    assert [part.shard_name for part in found.derivation.parts] == ["b.parquet"]
    assert [part.shard_name for part in found.todo] == ["a.parquet", "a.parquet", "b.parquet"]
