"""Errors cross process borders, and carry documented exit codes."""

from __future__ import annotations

import pickle

import pytest

from reranker_core import errors
from reranker_core.errors import PreflightRefused, RerankError

CODES = {
    errors.ConfigError: 2,
    errors.InputError: 2,
    errors.PreflightRefused: 3,
    errors.ReuseRefused: 3,
    errors.QuarantineExceeded: 4,
    errors.Incomplete: 5,
    errors.OutputConflict: 6,
    errors.LimitExceeded: 7,
}


def test_the_table_holds_every_error():
    assert set(RerankError.__subclasses__()) == set(CODES)


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_exit_codes_are_as_documented(kind: type[RerankError], code: int):
    assert kind("what").exit_code == code


@pytest.mark.parametrize("kind", CODES)
def test_errors_survive_pickling(kind: type[RerankError]):
    back = pickle.loads(pickle.dumps(kind("what, where\nand the remedy")))
    assert type(back) is kind
    assert str(back) == "what, where\nand the remedy"


def test_a_refusal_keeps_its_report_through_pickling():
    back = pickle.loads(pickle.dumps(PreflightRefused("why", {"checks": [{"name": "finite"}]})))
    assert back.report == {"checks": [{"name": "finite"}]}


def test_only_an_incomplete_run_may_be_tried_again_unchanged():
    assert {kind for kind in CODES if kind("x").retryable} == {errors.Incomplete}
