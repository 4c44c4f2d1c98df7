"""Which GPU is to blame for processes that end."""

from reranker_core.score.devices import Devices


def devices(**parts):
    found = Devices()
    for device, count in parts.items():
        found.add(device)
        for number in range(count):
            found.ended(device, f"{device}-{number}")
    return found


def test_a_gpu_that_ends_processes_in_several_parts_is_sick():
    found = devices(a=3, b=0, c=0)
    assert "crashed on a while they scored 3 different parts" in found.sickness("a")
    assert not found.sickness("b")


def test_one_part_that_ends_many_processes_blames_no_gpu():
    found = devices(a=0, b=0)
    for _ in range(9):
        found.ended("a", "p")
    assert not found.sickness("a")


def test_ends_that_all_gpus_share_are_not_a_gpus_fault():
    found = devices(a=5, b=4, c=6)
    assert not any(map(found.sickness, "abc"))


def test_parts_whose_rows_end_processes_do_not_count():
    found = devices(a=3, b=0)
    found.explained("a-0")
    assert not found.sickness("a")


def test_the_only_gpu_is_never_sick_and_cpus_are_not_counted():
    assert not devices(a=9).sickness("a")
    found = devices(a=0)
    for number in range(9):
        found.ended("", f"{number}")
    assert not found.sickness("")
    assert found.names() == {"a"}


def test_a_new_gpu_is_not_sick():
    assert not devices(a=0).sickness("new")
