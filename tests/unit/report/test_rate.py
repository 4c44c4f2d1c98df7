"""The rate over the last minutes, and the time left with its uncertainty."""

import numpy as np
import pytest

from reranker_core.report.rate import Estimate, Rate


def filled(per_second, part=1000, start=0.0):
    """A rate that has seen parts come at these rates, one rate a second."""
    rate, pairs = Rate(), 0
    rate.add(start, 0)
    for second, number in enumerate(per_second, 1):
        pairs += number
        if pairs % part < number:
            rate.add(start + second, pairs)
    return rate


def test_a_rate_counts_the_last_minutes_only():
    slow_then_fast = filled([10] * 3600 + [1000] * 400)
    assert slow_then_fast.estimate(4000.0).rate == pytest.approx(1000, rel=0.01)


def test_a_stall_lowers_the_rate():
    assert filled([100] * 100).estimate(200.0).rate == pytest.approx(50, rel=0.02)


def test_a_steady_rate_has_a_narrow_interval_and_an_unsteady_one_a_wide_one():
    rng = np.random.default_rng(0)
    steady = filled([1000] * 300).estimate(300.0)
    unsteady = filled(rng.integers(0, 2000, 300).tolist()).estimate(300.0)
    assert 0.98 * steady.rate < steady.low <= steady.high < 1.02 * steady.rate
    assert unsteady.high - unsteady.low > 5 * (steady.high - steady.low)


def test_the_interval_covers_the_time_that_is_then_needed():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        rates = rng.gamma(20, 50, 600)
        found = filled(rates[:300].astype(int).tolist(), part=1).estimate(300.0)
        hits += found.low <= rates.mean() <= found.high
    assert hits >= 85


@pytest.mark.parametrize(
    ("estimate", "pairs", "words"),
    [
        (Estimate(100, 100, 100), 4000, "about 40 s"),
        (Estimate(100, 90, 110), 4000, "36 to 44 s"),
        (Estimate(100, 80, 120), 36_000, "5 to 8 min"),
        (Estimate(100, 80, 120), 3_600_000, "8 to 12 h"),
        (Estimate(100, -5, 205), 36_000, "about 6 min"),
        (Estimate(100, 99, 101), 0, "about 0 s"),
    ],
)
def test_the_time_left_is_said_in_one_unit(estimate, pairs, words):
    assert estimate.left(pairs) == words
