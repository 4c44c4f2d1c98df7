"""Which replicas may score, which start again or are set aside, and when the run ends."""

import pytest

from reranker_core.errors import Incomplete, PreflightRefused
from reranker_core.preflight.agreement import Agreement, Finding
from reranker_core.preflight.fleet import Fleet, Origin

GOOD = (0.0, 5.0, 10.0)
NEAR = (0.01, 5.02, 9.99)
BAD = (0.0, 5.0, 12.0)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def finding(name, canaries=GOOD, dtype="float32", gpu="", node="n"):
    origin = Origin(name, f"host:{name}", node, f"GPU {gpu or name}")
    return Finding(origin, dtype, canaries, None, "", "", {"checks": []})


def failed(name, reason="no memory", kind="OutOfMemoryError", error=Incomplete, node="n"):
    origin = Origin(name, f"host:{name}", node, f"GPU {name}")
    return Finding(origin, "", (), error(reason), kind, reason, {"checks": []})


def refused(name, reason="weights/finite: damaged", node="n"):
    return failed(name, reason, "weights/finite", PreflightRefused, node)


def agreement(expected=1, most=None, enforced=True):
    clock = Clock()
    fleet = Fleet(expected, most or expected, longest=1000.0, patience=60.0)
    return Agreement(fleet, enforced, clock), clock


def act(group, found, loading=0):
    group.add(found)
    verdict = group.verdict(found, loading)
    return verdict and verdict.action


def actions(group, found):
    for one in found:
        group.add(one)
    return [(verdict := group.verdict(one)) and verdict.action for one in found]


def test_one_replica_agrees_with_itself():
    group, _ = agreement()
    assert act(group, finding("a")) == "score"


def test_none_scores_before_all_have_reported():
    group, _ = agreement(expected=2)
    first = finding("a")
    assert act(group, first) is None
    assert act(group, finding("b", NEAR)) == "score"
    assert group.verdict(first).action == "score"


def test_others_are_waited_for_only_so_long():
    group, clock = agreement(expected=3)
    first = finding("a")
    assert act(group, first) is None
    clock.now = 61
    assert group.verdict(first).action == "score"


@pytest.mark.parametrize("order", [(BAD, GOOD, NEAR), (GOOD, BAD, NEAR), (NEAR, GOOD, BAD)])
def test_the_majority_is_right_whoever_comes_first(order):
    group, _ = agreement(expected=3)
    found = [finding(str(i), canaries) for i, canaries in enumerate(order)]
    expected = ["restart" if canaries is BAD else "score" for canaries in order]
    assert actions(group, found) == expected
    assert [each["replica"] for each in group.replaced] == [f"host:{order.index(BAD)}"]


def test_a_replica_that_joins_later_must_agree():
    group, _ = agreement()
    act(group, finding("a"))
    assert act(group, finding("b", NEAR)) == "score"
    assert act(group, finding("c", BAD)) == "restart"
    assert "20.00%" in group.replaced[0]["reason"]


def test_half_precision_may_differ_by_more():
    group, _ = agreement()
    act(group, finding("a", dtype="bfloat16"))
    assert act(group, finding("b", (0.0, 5.2, 10.0), dtype="bfloat16")) == "score"


@pytest.mark.parametrize("bad", [finding("b", BAD), failed("b"), refused("b")])
def test_a_replica_that_cannot_score_starts_again_once_and_is_then_set_aside(bad):
    group, _ = agreement()
    act(group, finding("a"))
    assert act(group, bad) == "restart"
    assert act(group, bad) == "set_aside"
    verdict = group.verdict(bad)
    assert verdict.reason
    assert verdict.error.exit_code == (5 if bad.kind == "OutOfMemoryError" else 3)
    assert act(group, finding("b")) == "score"  # in a new process it may be well


def test_a_failure_is_not_the_runs_while_others_load():
    group, clock = agreement(expected=8)
    early = failed("a")
    assert act(group, early, loading=7) is None
    clock.now = 3600  # the others need an hour
    assert group.verdict(early, loading=7) is None
    for name in "bcdefgh":
        group.add(finding(name))
    assert group.verdict(early).action == "restart"


@pytest.mark.parametrize("bad", [1, 4, 7])
def test_the_run_goes_on_with_those_that_pass(bad):
    group, _ = agreement(expected=8)
    found = [failed(str(i)) if i < bad else finding(str(i)) for i in range(8)]
    assert actions(group, found) == ["restart"] * bad + ["score"] * (8 - bad)


def test_when_all_are_refused_the_run_is_with_the_first_reason():
    group, _ = agreement(expected=2)
    one, two = refused("a", "one"), refused("b", "two")
    assert act(group, one) is None
    assert act(group, two) == "end"
    verdict = group.verdict(one)
    assert str(verdict.error) == "one"
    assert isinstance(verdict.error, PreflightRefused)


def test_a_refused_model_is_told_before_the_last_of_many_replicas_has_loaded():
    group, _ = agreement(expected=64)
    for number in range(57):
        assert act(group, refused(str(number)), loading=7) is None
    assert act(group, refused("57"), loading=6) == "end"


def test_many_that_fail_in_different_ways_do_not_end_the_run_early():
    group, _ = agreement(expected=64)
    for number in range(60):
        assert act(group, failed(str(number), kind=f"{number % 2}"), loading=4) is None


def test_a_run_in_which_nearly_all_fail_alike_ends_with_their_error():
    group, _ = agreement(expected=64)
    found = [failed(str(i)) for i in range(62)] + [finding("x"), finding("y")]
    assert set(actions(group, found)) == {"end"}
    assert isinstance(group.verdict(found[-1]).error, Incomplete)


@pytest.mark.parametrize("expected", [0, 1, 4])
def test_one_replica_that_fails_does_not_end_a_run_that_waits_for_others(expected):
    group, clock = agreement(expected, most=64)
    only = failed("a")
    if expected <= 1:
        assert act(group, only) == "restart"
    assert act(group, only) is None
    clock.now = 999
    assert group.verdict(only) is None
    for name in "bcde":
        group.add(finding(name))
    assert group.verdict(finding("b")).action == "score"
    assert group.verdict(only).action == ("set_aside" if expected <= 1 else "restart")


def test_if_no_other_replica_comes_the_run_ends_with_the_error_of_the_only_one():
    group, clock = agreement(expected=1, most=64)
    only = refused("a")
    assert act(group, only) == "restart"
    assert act(group, only) is None
    clock.now = 1001
    verdict = group.verdict(only)
    assert verdict.action == "end"
    assert isinstance(verdict.error, PreflightRefused)


@pytest.mark.parametrize(
    ("expected", "nodes", "seconds"),
    [
        (4, "nnnn", 60),  # all that are there: not the fault of one GPU
        (0, "nm", 60),
        (1, "nm", 60),
        (0, "nnnn", 1000),  # the first node that was started
        (8, "nnnn", 1000),
    ],
)
def test_a_model_that_several_refuse_is_refused_soon_and_one_node_is_given_time(
    expected, nodes, seconds
):
    group, clock = agreement(expected, most=64)
    found = [refused(str(index), node=node) for index, node in enumerate(nodes)]
    for one in found:
        group.add(one)
    clock.now = seconds - 1
    assert [group.verdict(one) for one in found] == [None] * len(found)
    assert group.verdict(found[0], loading=1) is None
    clock.now = seconds
    assert {group.verdict(one).action for one in found} == {"end"}


@pytest.mark.parametrize("expected", [0, 1])
def test_the_first_replica_of_a_growing_run_is_not_right_by_itself(expected):
    group, clock = agreement(expected, most=64)
    first = finding("a", BAD)
    assert act(group, first) is None
    clock.now = 30
    assert act(group, finding("b")) is None
    assert act(group, finding("c", NEAR)) == "score"
    assert group.verdict(first).action == "restart"
    assert group.verdict(finding("b")).action == "score"


def test_replicas_that_share_a_gpu_are_one_witness():
    group, _ = agreement(expected=0, most=8)
    shared = [finding("a", BAD, gpu="x"), finding("b", BAD, gpu="x")]
    assert actions(group, shared) == [None, None]
    assert act(group, finding("c", gpu="y")) is None
    assert actions(group, [finding("d", gpu="z"), finding("e", gpu="y")])[1] == "score"
    assert group.verdict(shared[0]).action == "restart"


def test_two_that_agree_need_not_wait_for_nodes_that_may_come():
    group, _ = agreement(expected=2, most=64)
    assert actions(group, [finding("a"), finding("b")]) == ["score", "score"]


def test_an_only_replica_scores_after_a_while():
    group, clock = agreement(expected=1, most=64)
    first = finding("a")
    assert act(group, first) is None
    clock.now = 60
    assert group.verdict(first).action == "score"


def test_the_first_one_that_scored_alone_and_is_outvoted_ends_the_run():
    group, clock = agreement(expected=1, most=64)
    first = finding("a", BAD)
    group.add(first)
    clock.now = 60
    assert group.verdict(first).action == "score"
    assert act(group, finding("b")) == "restart"
    assert act(group, finding("b")) == "set_aside"
    assert act(group, finding("c", BAD, gpu="a")) == "score"  # the same GPU is no second witness
    group.add(finding("d", NEAR))
    verdict = group.verdict(finding("d", NEAR))
    assert verdict.action == "end"
    assert verdict.error.exit_code == 3
    assert all(part in str(verdict.error) for part in ("host:a (GPU a)", "host:b", "16.67%"))


def test_one_that_scored_alone_and_is_confirmed_is_not_outvoted_by_as_many():
    group, clock = agreement(expected=1, most=64)
    first = finding("a")
    group.add(first)
    clock.now = 60
    assert group.verdict(first).action == "score"
    assert actions(group, [finding("b", NEAR), finding("c", BAD)]) == ["score", "restart"]
    assert act(group, finding("d", BAD)) == "restart"


def test_scores_are_not_compared_where_that_is_not_enforced():
    group, _ = agreement(expected=1, most=8, enforced=False)
    first = finding("a")
    assert act(group, first) is None
    assert act(group, finding("b", BAD)) == "score"
    assert group.verdict(first).action == "score"


def test_a_thousand_replicas_are_compared_with_one_of_each_group():
    compared = []

    class Watched(tuple):
        __slots__ = ()

        def __array__(self, dtype=None, copy=None):
            import numpy as np

            compared.append(1)
            return np.array(list(self))

    group, _ = agreement(expected=1000)
    found = [finding(str(i), Watched(NEAR if i % 2 else GOOD)) for i in range(1000)]
    found[500] = finding("500", Watched(BAD))
    assert actions(group, found).count("score") == 999
    assert len(compared) < 20_000  # two for each comparison; all with all would be a million
