"""What the manifest says of earlier scores: how many, from where, and what they saved."""

import pytest

from reranker_core.output.attempts import Attempt
from reranker_core.output.reuse_facts import reuse_facts, seconds_per_pair
from reranker_core.output.totals import Totals

ONE = {"url": "s3://a/one", "pairs": 100, "seconds_per_pair": 36.0}
TWO = {"url": "s3://a/two", "pairs": 300, "seconds_per_pair": 72.0}


def attempt(number: int, *sources: dict, gpus: float = 0.5) -> Attempt:
    return Attempt(number, "", "", cpus=2.0, gpus=gpus, reuse=list(sources))


def test_a_run_that_uses_none_says_nothing():
    assert reuse_facts(Totals(distinct=10), [attempt(1)]) == {}
    assert reuse_facts(Totals(), []) == {}


def test_all_sources_of_all_attempts_are_named_once():
    facts = reuse_facts(Totals(), [attempt(1, ONE), attempt(2, ONE, TWO)])["reuse"]
    assert [each["url"] for each in facts["from"]] == ["s3://a/one", "s3://a/two"]


def test_what_was_saved_is_the_time_that_the_pairs_took_before():
    totals = Totals(reused=110, checked=10)
    facts = reuse_facts(totals, [attempt(1, ONE, TWO)])["reuse"]
    assert (facts["pairs"], facts["checked"]) == (110, 10)
    assert facts["seconds_per_pair"] == 63.0  # by the number of keys
    assert facts["gpu_hours_saved"] == pytest.approx(100 * 63 / 3600 * 0.5)
    assert facts["cpu_hours_saved"] == pytest.approx(100 * 63 / 3600 * 2)


def test_reused_scores_are_told_even_if_the_attempt_is_lost():
    assert reuse_facts(Totals(reused=3), [])["reuse"]["pairs"] == 3


def test_the_time_of_a_pair_goes_over_nights_that_scored_none():
    assert seconds_per_pair({"distinct_pairs": 4, "scoring_seconds": 2.0}) == 0.5
    passed_on = {"distinct_pairs": 0, "scoring_seconds": 1.0, "reuse": {"seconds_per_pair": 0.5}}
    assert seconds_per_pair(passed_on) == 0.5
    assert seconds_per_pair({}) == 0.0
    # A few new or checked pairs among many known ones are not in full batches.
    mostly_known = {"distinct_pairs": 2, "scoring_seconds": 1.0, "reuse": {"pairs": 9}}
    mostly_known["reuse"]["seconds_per_pair"] = 0.1
    assert seconds_per_pair(mostly_known) == 0.1
    assert seconds_per_pair(mostly_known | {"distinct_pairs": 100}) == 0.01


def test_pairs_that_the_run_has_scored_first_are_not_saved():
    totals = Totals(reused=110, checked=10)
    facts = reuse_facts(totals, [attempt(1, ONE, {**TWO, "scored_now": 60})])["reuse"]
    assert facts["shared_pairs_scored"] == 60
    assert facts["gpu_hours_saved"] == pytest.approx(40 * 63 / 3600 * 0.5)
    only = reuse_facts(Totals(reused=2), [attempt(1, {**TWO, "scored_now": 60})])["reuse"]
    assert only["gpu_hours_saved"] == 0
