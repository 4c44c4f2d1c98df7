"""Every broken checkpoint is refused by the right check; good but unusual ones are not."""

import numpy as np
import pytest

from reranker_core.errors import PreflightRefused
from tests.faults import zoo

PAIRS = [("read a file", "Reads the file and returns its text."), ("sort", "A list of numbers.")]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return zoo.bases(tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="module")
def expected(bases, tmp_path_factory):
    """The scores of the trained encoder as it is."""
    folder = tmp_path_factory.mktemp("good") / "as_it_is"
    return zoo.load(zoo.GOOD["as_it_is"], bases, folder).score_pairs(PAIRS)


@pytest.mark.parametrize("name", zoo.BROKEN)
def test_a_broken_checkpoint_is_refused_by_the_right_check(name, bases, tmp_path):
    kind = zoo.BROKEN[name]
    with pytest.raises(PreflightRefused) as caught:
        zoo.load(kind, bases, tmp_path / name)
    failed = {
        f"{check['group']}/{check['name']}": check
        for check in caught.value.report["checks"]
        if not check["passed"]
    }
    assert kind.check in failed
    check = failed[kind.check]
    assert f"{kind.check}: {check['measured']}" in str(caught.value)
    assert len(check["remedy"]) > 20


@pytest.mark.parametrize("name", zoo.GOOD)
def test_a_good_but_unusual_checkpoint_is_accepted(name, bases, expected, tmp_path):
    kind = zoo.GOOD[name]
    scores = zoo.load(kind, bases, tmp_path / name).score_pairs(PAIRS)
    assert np.isfinite(scores).all()
    if kind.base == "encoder":
        np.testing.assert_allclose(scores, expected, rtol=0.02, atol=0.05)
