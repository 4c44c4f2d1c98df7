"""Limits of tokens in tokenizer_config.json."""

from types import SimpleNamespace

import pytest

from reranker_core.preflight.settings import check_length


@pytest.mark.parametrize(
    ("limit", "positions", "configured", "passed", "told"),
    [
        (512, 512, False, True, False),
        (512, 8192, False, True, False),
        (256, 512, False, True, True),
        (128, 512, False, True, True),
        (64, 512, False, False, True),
        (64, 256, False, False, True),
        (16, 8192, False, False, True),
        (64, 512, True, True, False),
        (64, 128, False, True, True),
        (64, None, False, True, False),
    ],
)
def test_a_limit_far_below_the_positions_is_told_and_a_tiny_one_refused(
    limit: int, positions: int | None, configured: bool, passed: bool, told: bool
):
    check = check_length(SimpleNamespace(max_position_embeddings=positions), limit, configured)
    assert (check.passed, check.notable) == (passed, told)
    assert ("model_max_length" in check.measured) is told
