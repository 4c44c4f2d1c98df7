"""`HF_HUB_OFFLINE=1 python -m tests.faults.zoo > docs/broken-checkpoints.md`: kinds, checks and
messages, from what really happens.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from reranker_core.errors import PreflightRefused
from reranker_core.score.scorer import Scorer
from tests.faults.checkpoint_edits import config
from tests.faults.damaged.measure import ENFORCED_NONE, correlation, hard_share, sample_pairs
from tests.faults.zoo import BROKEN, GOOD, Kind, bases, load
from tests.parity import oracles
from tests.parity.common import deviation, encode

HEADING = """# Broken checkpoints

The message of preflight for each kind, written by `python -m tests.faults.zoo`. The tests build the
same checkpoints and compare the names of the checks with this table.

The next columns say what the scores would be worth if no check refused the model: Spearman's rank
correlation with the scores of the good model on 100 pairs, and the share of the hard comparisons in
the right order (the good model has 100 %). "none" means that it computes no scores. Damage that
keeps the files whole is in [damaged-models.md](damaged-models.md). Good checkpoints are in the last
table; the families are compared with the reference libraries in [parity.md](parity.md).

| what is broken | refused by | Spearman | hard comparisons | message |
|---|---|---|---|---|"""

GOOD_HEADING = """
Good but unusual checkpoints. All of them are accepted. The last column is the largest difference
from the scores of the reference library for the same files, relative to the score, or to the
standard deviation of the scores if that is larger.

| what is unusual | compared with | largest difference |
|---|---|---|"""

GOOD_FOOT = """
¹ For the unchanged files. sentence-transformers cannot load these, draws weights at random because
of the prefix, or gives the model no token types."""
MISREAD = ("flash_attention", "no_quantisation", "wrapped", "generic_tokenizer")


def message_of(kind: Kind, sources: dict[str, Path], folder: Path) -> str:
    """What the check that refuses it says."""
    try:
        load(kind, sources, folder)
    except PreflightRefused as refused:
        line = next(x for x in str(refused).splitlines() if f"{kind.check}:" in x)
        return cell(line.partition(": ")[2].replace(str(folder.parent), "…"))
    return "NOT REFUSED"


def cell(text: str) -> str:
    """Text as a cell of a table."""
    return text.replace("|", "\\|")


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


def compared(name: str, sources: dict[str, Path], folder: Path) -> tuple[str, str]:
    """The reference library, and the largest difference from its scores."""
    kind = GOOD[name]
    is_encoder = kind.base == "encoder"
    longest_first = ("model.truncation=longest_first",) if is_encoder else ()
    scorer = load(kind, sources, folder, *longest_first)
    pairs = sample_pairs() if is_encoder else oracle_pairs()
    if name in MISREAD:
        oracle, expected = "CrossEncoder¹", cross_encoder_scores(scorer, sources[kind.base])
    elif is_encoder:
        oracle, expected = "CrossEncoder", cross_encoder_scores(scorer, folder)
    elif kind.base == "qwen3_classifier":
        oracle = "transformers, float64"
        expected = oracles.classifier64(folder).scores(encode(scorer, pairs))
    else:
        oracle = "transformers, float64"
        answers = {answer.ids[0]: answer.weight for answer in scorer.pair_format.answers}
        expected = oracles.float64(folder).scores(encode(scorer, pairs), answers)
    return oracle, f"{deviation(scorer.score_pairs(pairs), expected):.1e}"


def oracle_pairs() -> list[tuple[str, str]]:
    """Short ones: the tiny language models have a token for each few letters."""
    return [(query[:80], passage[:120]) for query, passage in sample_pairs()[::4]]


def cross_encoder_scores(scorer: Scorer, folder: Path) -> np.ndarray:
    """Raw scores of sentence-transformers; of two labels, the difference."""
    encoder = CrossEncoder(
        str(folder),
        device="cpu",
        max_length=scorer.pair_format.max_length,
        activation_fn=torch.nn.Identity(),
        model_kwargs={"dtype": torch.float32},
    )
    scores = np.asarray(encoder.predict(sample_pairs(), show_progress_bar=False))
    return scores if scores.ndim == 1 else scores[:, 1] - scores[:, 0]


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
                f"| {cell(kind.what)} | `{kind.check}` | {' | '.join(columns)} | {message} |",
                flush=True,
            )
        print(GOOD_HEADING)
        for name, kind in GOOD.items():
            oracle, difference = compared(name, sources, Path(place) / f"good {name}")
            print(f"| {cell(kind.what)} | {oracle} | {difference} |", flush=True)
        print(GOOD_FOOT)


if __name__ == "__main__":
    main()
