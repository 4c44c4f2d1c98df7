"""`HF_HUB_OFFLINE=1 python -m tests.faults.zoo > docs/broken-checkpoints.md`: kinds, checks and
messages, from what really happens.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np

from reranker_core.errors import PreflightRefused
from tests.faults.checkpoint_edits import config
from tests.faults.damaged.measure import ENFORCED_NONE, correlation, hard_share, sample_pairs
from tests.faults.zoo import BROKEN, GOOD, Kind, bases, load

HEADING = """# Broken checkpoints

The message of preflight for each kind, written by `python -m tests.faults.zoo`. The tests build the
same checkpoints and compare the names of the checks with this table.

The next columns say what the scores would be worth if no check refused the model: Spearman's rank
correlation with the scores of the good model on 100 pairs, and the share of the hard comparisons in
the right order (the good model has 100 %). "none" means that it computes no scores. Damage that
keeps the files whole is in [damaged-models.md](damaged-models.md). How close the scores of good
models are to those of the reference libraries is in [parity.md](parity.md).

| what is broken | refused by | Spearman | hard comparisons | message |
|---|---|---|---|---|"""


def message_of(kind: Kind, sources: dict[str, Path], folder: Path) -> str:
    """What the check that refuses it says."""
    try:
        load(kind, sources, folder)
    except PreflightRefused as refused:
        line = next(x for x in str(refused).splitlines() if f"{kind.check}:" in x)
        return line.partition(": ")[2].replace(str(folder.parent), "…").replace("|", "\\|")
    return "NOT REFUSED"


def ranking(
    kind: Kind, sources: dict[str, Path], folder: Path, right: np.ndarray
) -> tuple[str, str]:
    """Correlation with the good scores and the hard comparisons won, with no check enforced."""
    try:
        scorer = load(kind, sources, folder, *ENFORCED_NONE)
        rho = correlation(right, scorer.score_pairs(sample_pairs()))
    except Exception:  # noqa: BLE001 - libraries raise anything for a broken checkpoint
        return "none", ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return f"{rho:.2f}", hard_share(scorer) if kind.base == "encoder" else ""


def main() -> None:
    """Print the page."""
    logging.disable(logging.WARNING)
    print(HEADING)
    with tempfile.TemporaryDirectory() as place:
        sources = bases(Path(place))
        right: dict[str, np.ndarray] = {}
        for name, kind in BROKEN.items():
            if kind.base not in right:
                good = Kind("unchanged", "", config(), kind.base)
                scorer = load(good, sources, Path(place) / f"good-{kind.base}")
                right[kind.base] = scorer.score_pairs(sample_pairs())
            message = message_of(kind, sources, Path(place) / name)
            columns = ranking(kind, sources, Path(place) / f"{name}-again", right[kind.base])
            print(
                f"| {kind.what} | `{kind.check}` | {' | '.join(columns)} | {message} |", flush=True
            )
    print("\nGood but unusual checkpoints, which are accepted:\n")
    for kind in GOOD.values():
        print(f"- {kind.what}")


if __name__ == "__main__":
    main()
