"""What preflight sees of damaged language models with random weights."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from reranker_core.errors import RerankError
from reranker_core.preflight.golden import record
from tests import decoder_checkpoints
from tests.faults.checkpoint_edits import Build
from tests.faults.damaged.language_models import KINDS
from tests.faults.damaged.measure import (
    ENFORCED_NONE,
    WRONG,
    correlation,
    error_check,
    load,
    sample_pairs,
)

HEADING = """
## Language models

No small trained language model was available. So these have random weights (Qwen3, 3 layers, 128
wide). They do not rank, and the canaries cannot show that they rank worse. "seen by" lists the
checks of the other groups. "golden scores alone": only golden scores of the good model, or
`model.digest`, refuse it. The correlation is that with the scores of the good model.
"""
# The checks of values look at matrices from a certain size on.
WIDE = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "initializer_range": 0.12}
TITLES = {"qwen3": "A language model", "qwen3_classifier": "A decoder with a head"}
GOLDEN = "golden"
# The canaries of a language with few: they tell nothing here, but for their golden scores.
CHECKED = (*ENFORCED_NONE, "preflight.languages=[de]")


def pairs() -> list[tuple[str, str]]:
    """Short ones: these models have a token for each few letters."""
    return [(query[:80], passage[:120]) for query, passage in sample_pairs()]


def main() -> None:
    """Print the tables."""
    print(HEADING)
    with tempfile.TemporaryDirectory() as place:
        for name, title in TITLES.items():
            base = getattr(decoder_checkpoints, name)(Path(place) / name, **WIDE)
            print(f"### {title}\n\n{table(base, KINDS[name])}\n")


def table(base: Path, kinds: dict[str, Build]) -> str:
    """A row for each kind, and how many of the broken ones are seen."""
    good = load(base, *CHECKED)
    golden = base.parent / f"{base.name}.json"
    record(good.report, str(golden))
    usual = {f"{check.group}/{check.name}" for check in good.report.failed}
    right = good.score_pairs(pairs())
    rows, broken, seen, in_golden = [], 0, 0, 0
    for number, (what, build) in enumerate(kinds.items()):
        folder = base.parent / f"{base.name}-{number}"
        build(base, folder)
        rho, failed = measured(folder, golden, right)
        new = [name for name in failed if name not in usual]
        checks = [name for name in new if not name.startswith("meaning/")]
        wrong = rho is None or not rho >= WRONG
        alone = "golden scores alone" if f"meaning/{GOLDEN}" in failed else "accepted"
        broken, seen = broken + wrong, seen + (wrong and bool(checks))
        in_golden += wrong and (bool(checks) or alone != "accepted")
        told = ", ".join(f"`{name}`" for name in checks) or alone
        rows.append(f"| {what} | {'none' if rho is None else f'{rho:.3f}'} | {told} |")
    head = (
        f"{broken} of {len(kinds)} are broken (correlation below {WRONG}). {seen} of these are "
        f"seen without canaries and golden scores, {in_golden} with golden scores.\n"
    )
    return "\n".join([head, "| what was done | Spearman | seen by |", "|---|---|---|", *rows])


def measured(folder: Path, golden: Path, right: np.ndarray) -> tuple[float | None, list[str]]:
    """Correlation with the good scores, None if there are none, and the checks that failed."""
    try:
        scorer = load(folder, *CHECKED, f"preflight.golden={golden}")
        scores = scorer.score_pairs(pairs())
    except RerankError as error:
        return None, [error_check(error)]
    failed = [f"{check.group}/{check.name}" for check in scorer.report.failed]
    return correlation(right, scores), failed
