"""What a replica must pass before it may score a row.

Checks come in groups; `preflight.checks.<group>` says what a failure does. Each check holds what
it measured, what was expected, and the remedy.
"""

from reranker_core.preflight.files import check_checkpoint
from reranker_core.preflight.report import Check, Report, enforce
from reranker_core.preflight.scores import check_scores
from reranker_core.preflight.weights import check_tokenizer, check_weights

__all__ = [
    "Check",
    "Report",
    "check_checkpoint",
    "check_scores",
    "check_tokenizer",
    "check_weights",
    "enforce",
]
