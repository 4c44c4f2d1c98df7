"""What whole jobs are held against."""

import pytest

from reranker_core.config import load_config
from reranker_core.score.loading import load_scorer


@pytest.fixture(scope="session")
def score(bert):
    """Scores straight from the scorer, without Ray."""
    scorer = load_scorer(
        load_config(
            None,
            [
                "input.path=unused",
                "output.path=unused",
                f"model.path={bert}",
                "model.dtype=float32",
                "preflight.checks.meaning=off",
            ],
        )
    )
    return scorer.score_pairs
