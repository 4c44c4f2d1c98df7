"""Which replicas may score, which are replaced, and when the run stops."""

import pytest

from reranker_core.preflight.agreement import Agreement, Finding

GOOD = (0.0, 5.0, 10.0)
NEAR = (0.01, 5.02, 9.99)
BAD = (0.0, 5.0, 12.0)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def finding(name, canaries=GOOD, node="n", refused="", dtype="float32"):
    return Finding(name, node, dtype, () if refused else canaries, refused, {"checks": []})


def agreement(expected=1, patience=60.0, enforced=True):
    clock = Clock()
    return Agreement(expected, patience, enforced, clock), clock


def act(group, found):
    group.add(found)
    verdict = group.verdict(found)
    return verdict and verdict.action


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
    for one in found:
        group.add(one)
    actions = [group.verdict(one).action for one in found]
    assert actions == ["leave" if canaries is BAD else "score" for canaries in order]
    assert [o["replica"] for o in group.outliers] == [str(order.index(BAD))]


def test_a_replica_that_joins_later_must_agree():
    group, _ = agreement()
    act(group, finding("a"))
    assert act(group, finding("b", NEAR)) == "score"
    assert act(group, finding("c", BAD)) == "leave"
    assert "20.00%" in group.outliers[0]["reason"]


def test_half_precision_may_differ_by_more():
    group, _ = agreement()
    act(group, finding("a", dtype="bfloat16"))
    assert act(group, finding("b", (0.0, 5.2, 10.0), dtype="bfloat16")) == "score"


def test_a_node_that_disagrees_again_and_again_stops_the_run_by_name():
    group, _ = agreement()
    act(group, finding("a"))
    actions = [act(group, finding(f"b{i}", BAD, node="bad-node")) for i in range(3)]
    assert actions == ["leave", "leave", "refuse"]
    assert "bad-node" in group.verdict(finding("b3", BAD, node="bad-node")).reason


def test_a_replica_refused_by_its_own_preflight_is_replaced_where_others_passed():
    group, _ = agreement(expected=2)
    damaged = finding("a", refused="weights/finite: damaged")
    group.add(damaged)
    assert act(group, finding("b")) == "score"
    assert group.verdict(damaged).action == "leave"
    assert group.outliers[0]["reason"] == "weights/finite: damaged"


def test_when_all_are_refused_the_run_is():
    group, _ = agreement(expected=2)
    one, two = finding("a", refused="one"), finding("b", refused="two")
    assert act(group, one) is None
    assert act(group, two) == "refuse"
    assert group.verdict(one).reason == "one"


def test_scores_are_not_compared_where_that_is_not_enforced():
    group, _ = agreement(enforced=False)
    act(group, finding("a"))
    assert act(group, finding("b", BAD)) == "score"
