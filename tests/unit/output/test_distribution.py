"""Distributions of parts and runs."""

import numpy as np
import pytest

from reranker_core.output.distribution import Distribution, describe


def of(*parts):
    whole = Distribution()
    for number, scores in enumerate(parts):
        whole.add(f"part-{number}", len(scores), describe(scores))
    return whole.summary()


def test_a_part_is_described_by_its_own_quantiles():
    found = describe(np.arange(101, dtype=np.float32))
    assert (found["min"], found["p05"], found["p50"], found["max"]) == (0, 5, 50, 100)
    assert (found["mean"], found["tied"]) == (50, 0)


def test_ties_are_a_share():
    assert describe(np.array([1, 1, 1, 2], np.float32))["tied"] == 0.5


def test_no_scores_are_no_distribution():
    assert describe(np.zeros(0, np.float32)) == {}
    assert of(np.zeros(0, np.float32)) == {"count": 0}


@pytest.mark.parametrize("parts", [1, 7, 600, 1500])
def test_a_run_has_the_quantiles_of_all_its_scores(parts):
    rng = np.random.default_rng(parts)
    pieces = [rng.normal(rng.normal(), 3, 200).astype(np.float32) for _ in range(parts)]
    found, whole = of(*pieces), np.concatenate(pieces)
    assert found["count"] == len(whole)
    assert found["mean"] == pytest.approx(whole.mean(dtype=np.float64), abs=1e-4)
    assert found["min"] == pytest.approx(whole.min(), abs=1e-5)
    assert found["max"] == pytest.approx(whole.max(), abs=1e-5)
    for name, share in (("p05", 0.05), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p95", 0.95)):
        assert found[name] == pytest.approx(np.quantile(whole, share), abs=0.4), name


def test_parts_count_by_their_size():
    rng = np.random.default_rng(0)
    few, many = rng.normal(0, 0.1, 10), rng.normal(5, 0.1, 990)
    found = of(few.astype(np.float32), many.astype(np.float32))
    assert found["p05"] > 4.5
    assert found["p50"] == pytest.approx(5, abs=0.1)


def test_constant_scores_stay_constant():
    found = of(*[np.full(10, 3, np.float32)] * 3)
    assert {found[name] for name in ("min", "p05", "p50", "p95", "max", "mean")} == {3}


def test_a_part_unlike_the_others_is_named():
    rng = np.random.default_rng(1)
    pieces = [rng.normal(0, 2, 500).astype(np.float32) for _ in range(40)]
    pieces[17] = pieces[17] + 9
    assert [one["part"] for one in of(*pieces)["unlike"]] == ["part-17"]


def test_parts_like_each_other_are_not():
    rng = np.random.default_rng(2)
    assert of(*[rng.normal(0, 2, 500).astype(np.float32) for _ in range(40)])["unlike"] == []
