"""Progress of a run, in one line."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

import pytest

from reranker_core.input.plan import Part, Plan, make_plan
from reranker_core.output.receipts import Receipt
from reranker_core.report import progress as progress_module
from reranker_core.report import rate as rate_module
from reranker_core.report.progress import Progress
from tests.tables import config, flat, write


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    write(tmp_path / "a.parquet", flat(40_000))
    return make_plan(config(tmp_path, "elsewhere", "plan.part_rows=10000"))


def receipt(part: Part) -> Receipt:
    values = dict.fromkeys(Receipt.__dataclass_fields__, 0) | {
        "part": part.name,
        "rows": part.rows,
        "pairs": part.pairs,
    }
    return Receipt(**values)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate is shown at once."""
    monkeypatch.setattr(rate_module, "_SECONDS_BEFORE_A_RATE", 0.0)


def test_parts_and_pairs_are_counted(plan: Plan):
    progress = Progress(plan, plan.parts)
    progress.advance(receipt(plan.parts[0]))
    assert progress.state() == "1 of 4 parts, 10,000 pairs"


def test_parts_of_earlier_runs_are_counted_apart_from_parts_and_pairs_of_this_one(plan: Plan):
    progress = Progress(plan, plan.parts[3:])
    assert progress.state() == "0 of 1 part, 0 pairs (and 3 parts of earlier runs)"
    progress.advance(receipt(plan.parts[3]))
    assert progress.state() == "1 of 1 part, 10,000 pairs (and 3 parts of earlier runs)"


def test_there_is_no_rate_before_the_second_part(plan: Plan, soon: None):
    progress = Progress(plan, plan.parts)
    progress.advance(receipt(plan.parts[0]))
    assert "pairs/s" not in progress.state()


def test_there_is_no_rate_in_the_first_seconds(plan: Plan, monkeypatch: pytest.MonkeyPatch):
    progress = Progress(plan, plan.parts)
    for part in plan.parts[:3]:
        progress.advance(receipt(part))
    assert "pairs/s" not in progress.state()
    start = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: start + 20)
    assert re.search(
        r"3 of 4 parts, 30,000 pairs, 1,000 pairs/s, about 10 s left", progress.state()
    )


def test_the_rate_counts_from_the_first_part_past_the_loading(plan: Plan, soon: None):
    progress = Progress(plan, plan.parts)
    time.sleep(0.5)
    progress.advance(receipt(plan.parts[0]))
    time.sleep(0.05)
    progress.advance(receipt(plan.parts[1]))
    (rate,) = re.findall(r"([\d,]+) pairs/s", progress.state())
    assert int(rate.replace(",", "")) > 20_000 / 0.55  # what it were with the loading


def test_time_left_falls_to_nothing(plan: Plan, soon: None):
    progress = Progress(plan, plan.parts)
    for part in plan.parts:
        progress.advance(receipt(part))
        time.sleep(0.01)
    assert progress.state().startswith("4 of 4 parts, 40,000 pairs")
    assert progress.state().endswith(" about 0 s left")


def test_what_replicas_do_is_said_until_a_part_is_committed(
    plan: Plan, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO, "reranker_core"), Progress(plan, plan.parts) as progress:
        progress.replicas(1, 0, 3)
        progress.replicas(1, 0, 3)  # no news
        progress.replicas(1, 2, 3)
        progress.advance(receipt(plan.parts[0]))
        progress.replicas(0, 3, 3)
    told = [record.getMessage() for record in caplog.records]
    assert [line.partition(" (")[0] for line in told[:2]] == [
        "3 replicas: 1 loading and checking the model, 2 waiting to start",
        "3 replicas: 2 ready, 1 loading and checking the model",
    ]
    assert not any("replicas" in line for line in told[2:])


def test_the_last_state_is_logged_where_there_is_no_terminal(
    plan: Plan, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO), Progress(plan, plan.parts) as progress:
        progress.advance(receipt(plan.parts[0]))
    assert "1 of 4 parts" in caplog.text


def test_nothing_is_logged_when_nothing_was_done(plan: Plan, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "reranker_core"), Progress(plan, plan.parts):
        pass
    assert not [record for record in caplog.records if record.name.startswith("reranker_core")]


def test_the_last_state_is_not_logged_twice(
    plan: Plan, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO), Progress(plan, plan.parts) as progress:
        for part in plan.parts:
            progress.advance(receipt(part))
    assert caplog.text.count("4 of 4 parts") == 1


def test_a_run_without_parts_has_a_state(plan: Plan):
    assert Progress(plan, ()).state() == "0 of 0 parts, 0 pairs (and 4 parts of earlier runs)"
