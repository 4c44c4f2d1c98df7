"""What each driver records of its work."""

import json

import pytest

from reranker_core.errors import Incomplete
from reranker_core.output import attempts
from reranker_core.output.attempts import FOLDER, Attempt, Recorder, read_attempts
from reranker_core.output.manifest import MANIFEST, conclude
from reranker_core.output.proof import prove
from reranker_core.storage.store import Store
from tests.outputs import Output, sizes
from tests.tables import flat, write


@pytest.fixture
def output(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(100))
    found = Output(tmp_path / "in", tmp_path / "out")
    found.claim()
    return found


def recorder(output, number=1, started=1_000_000_000.0, **facts):
    return Recorder(output.store, number, started, **facts)


def test_an_attempt_counts_what_it_committed_and_says_how_it_ended(output):
    report = {"replica": "host:1", "device": "cpu", "loading_seconds": 3.0, "seconds": 1.0}
    with recorder(output, cpus=2.0, gpus=0.5) as record:
        record.replica(report)
        for part in output.plan.parts[:2]:
            record.add(output.commit(part))
    (found,) = read_attempts(output.store)
    assert (found.start, found.outcome, found.exit_code) == (
        "2001-09-09T01:46:40+00:00",
        "scored",
        0,
    )
    assert found.end == found.last_sign > found.start
    assert (found.parts, found.pairs, found.scored, found.tokens) == (2, 8, 8, 200)
    assert found.replica_seconds == pytest.approx(4 + 2 * (0.5 + 0.1))
    assert found.cpu_hours == pytest.approx(4 * found.gpu_hours) != 0
    assert [pairs for _, pairs in found.samples] == [4, 8, 8]


@pytest.mark.parametrize(
    ("error", "kept", "code"),
    [
        (Incomplete("no s3://me:secret@bucket"), "no s3://me:***@bucket", 5),
        (RuntimeError("text of a user"), "", 1),
        (KeyboardInterrupt(), "", 1),
    ],
)
def test_an_attempt_that_fails_names_the_error_without_credentials_and_texts(
    output, error, kept, code
):
    with pytest.raises(type(error)), recorder(output):
        raise error
    (found,) = read_attempts(output.store)
    assert (found.outcome, found.exit_code, found.error) == (type(error).__name__, code, kept)


def test_a_killed_attempt_keeps_what_it_last_wrote(output, monkeypatch):
    monkeypatch.setattr(attempts, "_SECONDS_BETWEEN_WRITES", 0.0)
    killed = recorder(output).__enter__()  # and never left
    killed.add(output.commit(output.plan.parts[0]))
    with recorder(output, number=12) as record:
        for part in output.plan.parts[1:]:
            record.add(output.commit(part))
    first, second = read_attempts(output.store)
    assert (first.end, first.outcome, first.pairs) == (None, None, 4)
    assert (second.number, second.outcome, second.pairs) == (12, "scored", 96)
    conclude(output.store, output.run, output.config, {})
    told = json.loads(output.store.read(MANIFEST))["attempts"]
    assert [(each["number"], each["pairs"], each["outcome"]) for each in told] == [
        (1, 4, None),
        (12, 96, "scored"),
    ]


def test_samples_stay_few_and_keep_their_order(output, monkeypatch):
    monkeypatch.setattr(attempts, "_SAMPLES", 4)
    with recorder(output) as record:
        for part in output.plan.parts:
            record.add(output.commit(part))
    samples = read_attempts(output.store)[0].samples
    assert 2 <= len(samples) <= 5
    assert samples == sorted(samples)
    assert samples[-1][1] == 100


def test_records_are_no_part_of_the_proof_and_damaged_ones_are_left_out(output):
    output.commit_all()
    for name, data in {"1": b"{", "2": b"[]", "3": b'{"new": 1}', "4": b"\xff"}.items():
        output.store.write(f"{FOLDER}/{name}.json", data)
    data = {"number": 5, "start": "a", "last_sign": "b", "of_later_versions": 1}
    output.store.write(f"{FOLDER}/5.json", json.dumps(data).encode())
    assert [attempt.number for attempt in read_attempts(output.store)] == [5]
    assert prove(output.store, output.run, read_all=True).pairs == 100


def test_a_record_that_cannot_be_written_does_not_end_the_run(output, monkeypatch):
    def full(*_):
        raise Incomplete("full")

    monkeypatch.setattr(Store, "write", full)
    with recorder(output):
        pass
    monkeypatch.undo()
    assert not any(name.startswith(FOLDER) for name in sizes(output.store))


def test_the_configuration_has_no_credentials():
    attempt = Attempt(1, "", "", configuration={"input": {"path": ["ftp://me:secret@host/in"]}})
    assert b"ftp://me:***@host/in" in attempt.to_json()
