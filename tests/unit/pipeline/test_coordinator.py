"""What replicas are told, when some of them cannot score. The coordinator runs here without Ray."""

import asyncio

import pytest

from reranker_core.errors import Incomplete, PreflightRefused
from reranker_core.pipeline import coordinator as module
from reranker_core.pipeline.coordinator import Coordinator
from reranker_core.preflight.agreement import Finding
from reranker_core.preflight.fleet import Fleet, Origin

CANARIES = (0.0, 5.0, 10.0)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Waiting takes no time worth speaking of."""
    monkeypatch.setattr(module, "_POLL", 0.001)
    monkeypatch.setattr(module, "_SLOW_POLL", 0.001)


def origin(name, process=1):
    return Origin(name, f"host:{name}{process}", "host (n)", f"GPU {name}")


def good(name, process=1):
    return Finding(origin(name, process), "float32", CANARIES, None, "", "", {"checks": []})


def bad(name, process=1, error=Incomplete):
    return Finding(
        origin(name, process),
        "",
        (),
        error(f"{name} is broken"),
        "OSError",
        f"{name} is broken",
        {},
    )


async def starts(coordinator, finding):
    """A replica loads and reports; what it is told, None while it is told nothing."""
    assert await coordinator.load(finding.origin) is None
    return await told(coordinator.admit(finding))


async def told(call):
    """The answer, None if there is none."""
    try:
        return await asyncio.wait_for(call, 0.05)
    except TimeoutError:
        return None


def test_a_replica_that_cannot_load_waits_without_an_answer_and_the_others_score():
    async def run():
        coordinator = Coordinator(Fleet(2, 2), True)
        first = asyncio.create_task(starts(coordinator, bad("a")))
        assert (await starts(coordinator, good("b"))).action == "score"
        assert (await first).action == "restart"
        assert await starts(coordinator, bad("a", 2)) is None
        state = await coordinator.state()
        assert [each.device for each in state.set_aside] == ["GPU a"]
        assert "a is broken" in str(state.set_aside[0])
        assert (state.ready, state.holding) == (1, 0)

    asyncio.run(run())


def test_a_replica_that_has_scored_holds_its_parts_until_they_are_released():
    async def run():
        coordinator = Coordinator(Fleet(2, 2), True)
        first = asyncio.create_task(starts(coordinator, good("a")))
        assert (await starts(coordinator, good("b"))).action == "score"
        assert (await first).action == "score"
        assert (await starts(coordinator, bad("a", 2))).action == "restart"
        assert (await starts(coordinator, bad("a", 3))).action == "hold"
        held = asyncio.create_task(coordinator.hold("a"))
        assert await told(asyncio.shield(held)) is None
        assert (await coordinator.state()).holding == 1
        await coordinator.release()
        await held
        assert await told(coordinator.hold("a")) is None  # those that come later
        await coordinator.score_again(Fleet(2, 2))
        again = await told(coordinator.load(Origin("c", "host:9", "host (n)", "GPU a")))
        assert again is None  # no answer: this GPU gets no part
        assert (await coordinator.load(Origin("d", "host:10", "host (n)", "GPU b"))) is None
        assert len((await coordinator.state()).set_aside) == 1

    asyncio.run(run())


@pytest.mark.parametrize("error", [Incomplete, PreflightRefused])
def test_when_the_last_one_is_set_aside_all_that_wait_get_its_error(error):
    async def run():
        coordinator = Coordinator(Fleet(2, 2), True)
        first = asyncio.create_task(starts(coordinator, bad("a", error=error)))
        await starts(coordinator, good("b"))
        await first
        assert await coordinator.load(origin("a", 2)) is None
        waiting = asyncio.create_task(coordinator.admit(bad("a", 2, error)))
        assert (await starts(coordinator, bad("b", 2, error))).action == "restart"
        assert (await starts(coordinator, bad("b", 3, error))).action == "hold"
        with pytest.raises(error, match="b is broken"):
            await coordinator.hold("b")
        verdict = await waiting
        assert verdict.action == "end"
        assert isinstance(verdict.error, error)

    asyncio.run(run())


@pytest.mark.parametrize("fitting", [0, 1])
def test_the_only_one_that_scores_is_lost_and_the_run_goes_on_with_those_that_come(fitting):
    async def run():
        coordinator = Coordinator(Fleet(fitting, 8, longest=100.0, patience=0.0), True)
        assert (await starts(coordinator, good("a"))).action == "score"
        assert (await starts(coordinator, bad("a", 2))).action == "restart"
        assert (await starts(coordinator, bad("a", 3))).action == "hold"
        held = asyncio.create_task(coordinator.hold("a"))
        assert await told(asyncio.shield(held)) is None
        assert (await starts(coordinator, good("b"))).action == "score"
        await coordinator.release()
        await held  # for b

    asyncio.run(run())


def test_when_no_other_comes_for_the_only_one_the_run_ends_with_its_error():
    async def run():
        coordinator = Coordinator(Fleet(1, 8, longest=0.1, patience=0.0), True)
        assert (await starts(coordinator, good("a"))).action == "score"
        assert (await starts(coordinator, bad("a", 2))).action == "restart"
        assert (await starts(coordinator, bad("a", 3))).action == "hold"
        with pytest.raises(Incomplete, match="a is broken"):
            await asyncio.wait_for(coordinator.hold("a"), 5)

    asyncio.run(run())


def test_a_failure_that_is_not_decided_yet_is_told():
    async def run():
        coordinator = Coordinator(Fleet(0, 8, longest=100.0), True)
        assert (await starts(coordinator, bad("a"))).action == "restart"
        assert await starts(coordinator, bad("a", 2)) is None
        (trouble,) = (await coordinator.state()).troubles
        assert "a is broken. The job waits for other replicas" in trouble

    asyncio.run(run())


def test_messages_about_parts_are_bounded_and_the_latest_are_kept():
    async def run():
        coordinator = Coordinator(Fleet(2, 2), True)
        for name in "ab":
            await coordinator.load(origin(name))
        for number in range(1000):
            part, gpu = f"p{number}", origin("ab"[number % 2])
            await coordinator.warn("slow", f"warning {number}")
            await coordinator.begin("score", part, gpu.device)
            if await coordinator.fails(part, gpu, "it is broken"):
                await coordinator.begin("score", "q", gpu.device)
                await coordinator.finish("score", "q")
        troubles = (await coordinator.state()).troubles
        assert 10 <= len(troubles) < 500
        assert "part p999 failed" in troubles[-1]
        assert "warning 0" not in troubles  # told long ago, and once

    asyncio.run(run())


def test_in_the_second_round_one_that_is_set_aside_does_not_end_the_run():
    async def run():
        coordinator = Coordinator(Fleet(2, 2, patience=0.0), True)
        first = asyncio.create_task(starts(coordinator, good("a")))
        await starts(coordinator, good("b"))
        await first
        await coordinator.score_again(Fleet(1, 4, longest=100.0, patience=0.0))
        assert (await starts(coordinator, bad("a", 2))).action == "restart"
        assert await starts(coordinator, bad("a", 3)) is None
        assert (await starts(coordinator, good("b", 2))).action == "score"

    asyncio.run(run())


def test_processes_that_end_while_they_load_are_set_aside_too():
    async def run():
        coordinator = Coordinator(Fleet(1, 1), True)
        for process in range(3):
            assert await coordinator.load(origin("a", process)) is None
        verdict = await coordinator.load(origin("a", 3))
        assert verdict.action == "end"
        assert "3 processes crashed while loading" in str(verdict.error)

    asyncio.run(run())


def test_a_gpu_that_ends_processes_in_many_parts_is_set_aside_where_it_loads():
    async def run():
        coordinator = Coordinator(Fleet(2, 2), True)
        first = asyncio.create_task(starts(coordinator, good("a")))
        await starts(coordinator, good("b"))
        await first
        for part in "pqr":
            await coordinator.begin("score", part, "GPU a")
            await coordinator.begin("score", part, "GPU b")  # the first one has ended
            await coordinator.finish("score", part)
        assert (await coordinator.load(origin("a", 2))).action == "hold"
        (aside,) = (await coordinator.state()).set_aside
        assert "scored 3 different parts" in aside.reason

    asyncio.run(run())


def test_where_all_gpus_are_accused_none_is_kept_from_the_parts_that_are_left():
    async def run():
        coordinator = Coordinator(Fleet(2, 2), True)
        for name in "ab":
            await coordinator.load(origin(name))
        for device, part in (("GPU a", "p"), ("GPU b", "q")):
            for _ in range(2):
                await coordinator.begin("score", part, device)
                await coordinator.announce("score", part, [7])
            await coordinator.begin("score", part, device)
        await coordinator.score_again(Fleet(2, 2))
        assert (await coordinator.state()).suspected == 2
        for name in "ab":
            call = coordinator.load(origin(name, 2))
            assert await asyncio.wait_for(call, 5) is None

    asyncio.run(run())
