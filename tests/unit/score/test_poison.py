"""Rows that end processes: which are found, and after how many ends."""

import pytest

from reranker_core.errors import Incomplete, InputError
from reranker_core.score.devices import Devices
from reranker_core.score.poison import READING, SCORING, TOKENIZING, Attempts, Caution

ROWS, BATCH = 100, 16


def score(attempts, poison, part="p"):
    """Score a part of ROWS rows as a replica does, until it survives; processes ended, rows left
    out.
    """
    ends = 0
    while True:
        caution = attempts.begin(part)
        try:
            _pass(attempts, part, caution, poison)
        except ProcessLookupError:
            ends += 1
            continue
        attempts.finish(part)
        return ends, set(caution.fatal if caution else ())


def _pass(attempts, part, caution, poison):
    if caution is None:
        if poison:
            raise ProcessLookupError
        return
    left = set(caution.fatal) | set(caution.suspects)
    others = [row for row in range(ROWS) if row not in left]
    batches = [others[i : i + BATCH] for i in range(0, len(others), BATCH)]
    batches += [[row] for row in caution.suspects]
    for batch in batches:
        attempts.announce(part, batch)
        if poison & set(batch):
            raise ProcessLookupError


@pytest.mark.parametrize("poison", [{0}, {57}, {99}, {3, 4}, {3, 90}, {0, 20, 40, 60, 80}])
def test_exactly_the_rows_that_end_processes_are_left_out(poison):
    ends, fatal = score(Attempts(SCORING), poison)
    assert fatal == poison
    assert ends <= 1 + 3 * len(poison)  # once unwarily; then a batch, and twice a row, each


def test_a_part_that_ends_nothing_is_scored_as_usual():
    attempts = Attempts(SCORING)
    assert attempts.begin("p") is None
    attempts.finish("p")
    assert attempts.begin("p") is None


def test_a_preempted_process_costs_no_row():
    attempts = Attempts(SCORING)
    attempts.begin("p")  # and the process is gone
    assert attempts.begin("p") == Caution()
    attempts.finish("p")


def test_a_process_preempted_while_a_row_was_alone_costs_no_row():
    attempts = Attempts(SCORING)
    attempts.begin("p")
    attempts.begin("p")
    attempts.announce("p", [7])  # and the machine is taken away
    assert attempts.begin("p") == Caution(suspects=(7,))
    attempts.announce("p", [7])
    attempts.announce("p", [8])  # it went well this time; but not with this one
    assert attempts.begin("p") == Caution(suspects=(7, 8))


def test_parts_do_not_mix():
    attempts = Attempts(SCORING)
    attempts.begin("p")
    assert attempts.begin("q") is None
    assert attempts.begin("p") == Caution()


def test_what_is_known_of_a_part_is_kept_when_it_is_scored_again():
    attempts = Attempts(SCORING)
    score(attempts, {5})
    assert attempts.begin("p") == Caution(fatal=(5,), suspects=tuple(set(range(16)) - {5}))


def test_when_everything_ends_processes_the_run_ends():
    with pytest.raises(Incomplete, match="20 processes crashed while scoring part p"):
        score(Attempts(SCORING), set(range(ROWS)))


def test_many_texts_are_found_where_a_new_process_costs_little():
    poison = set(range(0, ROWS, 5))
    assert score(Attempts(TOKENIZING), poison)[1] == poison


def test_a_part_that_cannot_be_read_is_named_and_its_file_suspected():
    attempts = Attempts(READING)
    for _ in range(5):
        attempts.begin("a-0 (rows 0 to 9 of a.parquet)")
    with pytest.raises(InputError, match=r"5 processes.*rows 0 to 9 of a\.parquet.*damaged"):
        attempts.begin("a-0 (rows 0 to 9 of a.parquet)")


def test_what_happened_is_told_in_words():
    attempts = Attempts(TOKENIZING)
    score(attempts, {3})
    attempts.begin("q")
    attempts.begin("q")
    assert attempts.told("q") == "1 process crashed while tokenizing part q"
    assert attempts.told("p") == (
        "4 processes crashed while tokenizing part p; 1 cause was found and left out"
    )


def gpus(*names):
    devices = Devices()
    for name in names:
        devices.add(name)
    return Attempts(SCORING, devices)


def end(attempts, device, *rows, part="p"):
    """A process takes up the part, announces rows one by one, and ends at the last; its caution."""
    caution = attempts.begin(part, device)
    for row in rows:
        attempts.announce(part, [row])
    return caution


def test_a_row_that_ended_a_process_on_one_gpu_is_tried_on_another():
    attempts = gpus("a", "b")
    end(attempts, "a")
    end(attempts, "a", 7)
    assert attempts.begin("p", "a").elsewhere
    assert attempts.accuses("a")
    assert not attempts.accuses("b")
    assert end(attempts, "b", 7) == Caution(suspects=(7,))
    assert attempts.begin("p", "b") == Caution(fatal=(7,))


def test_a_sick_gpu_convicts_no_row():
    attempts = gpus("a", "b")
    end(attempts, "a")
    end(attempts, "a", 7)
    for _ in range(3):
        assert attempts.begin("p", "a").elsewhere
    assert end(attempts, "b", 7, 8) == Caution(suspects=(7,))  # it goes well there
    attempts.finish("p")
    assert not attempts.accuses("a")
    assert attempts.begin("p", "a") == Caution(suspects=(7,))


def test_where_there_is_one_gpu_only_two_ends_there_suffice():
    attempts = gpus("a")
    end(attempts, "a")
    end(attempts, "a", 7)
    end(attempts, "a", 7)
    assert attempts.begin("p", "a") == Caution(fatal=(7,))


def test_on_a_cpu_each_process_counts():
    attempts = gpus("a", "b")
    end(attempts, "")
    end(attempts, "", 7)
    end(attempts, "", 7)
    assert attempts.begin("p", "") == Caution(fatal=(7,))


def test_a_part_that_raises_an_error_is_tried_on_one_other_gpu():
    attempts = gpus("a", "b", "c")
    attempts.begin("p", "a")
    assert attempts.fails("p", "a")
    assert attempts.begin("p", "a").elsewhere
    assert attempts.begin("p", "b") is None
    assert not attempts.fails("p", "b")


def test_an_error_of_every_part_is_the_runs_after_two_on_each_gpu():
    attempts = gpus("a", "b", "c")
    deferred = []
    for part, device in zip("pqrstu", "abcabc", strict=True):
        attempts.begin(part, device)
        deferred.append(attempts.fails(part, device))
    assert deferred == [True] * 5 + [False]


def test_errors_between_finished_parts_or_on_one_gpu_are_not_the_runs():
    attempts = gpus("a", "b")
    for number in range(20):
        device = "ab"[number % 2]
        attempts.begin(f"bad {number}", device)
        assert attempts.fails(f"bad {number}", device)
        if number % 3 == 2:
            attempts.begin(f"good {number}", device)
            attempts.finish(f"good {number}")
    attempts = gpus("a", "b")
    for number in range(20):  # b takes a long time for its part
        attempts.begin(f"bad {number}", "a")
        assert attempts.fails(f"bad {number}", "a")


@pytest.mark.parametrize("device", ["", "a"])
def test_an_error_is_the_runs_where_no_other_gpu_could_try(device):
    attempts = gpus("a")
    attempts.begin("p", device)
    assert not attempts.fails("p", device)
