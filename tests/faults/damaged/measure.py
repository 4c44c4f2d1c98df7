"""What preflight sees of each kind, and how far its ranking is from the good model's."""

from __future__ import annotations

import argparse
import inspect
import logging
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from reranker_core.config import load_config
from reranker_core.errors import RerankError
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from tests.faults.checkpoint_edits import DEMO
from tests.faults.damaged.kinds import DAMAGED, SOUND

GROUPS = ("files", "architecture", "weights", "tokenizer", "prompt", "numerics", "meaning")
ENFORCED_NONE = tuple(f"preflight.checks.{group}=warn" for group in GROUPS)
WRONG = 0.98  # Spearman's correlation below which a model counts as broken
QUERIES, PASSAGES, _CHARACTERS = 10, 10, 500
HARD = "hard_comparisons"
UNHARMED = "Changed without harm"
KINDS = {**DAMAGED, UNHARMED: SOUND}
HEADING = """# Damaged models

Copies of `demo/model`, each with one kind of damage, by `python -m tests.faults.damaged`.
`--every 3` measures each third kind.

- Spearman: rank correlation of the scores with those of the good model, on 100 pairs of docstrings
  of the standard library, which the model was not trained on. "none": it computes no scores.
- hard comparisons: the share of the hard technical comparisons in the right order. 98 % are
  required; the good model has 100 %. This is the margin by which the ranking was seen to be worse.
- seen by: the checks that refuse it.

[broken-checkpoints.md](broken-checkpoints.md) has checkpoints that are broken in other ways, with
the messages. [parity.md](parity.md) compares good models with the reference libraries.
"""


@dataclass(frozen=True)
class Finding:
    """A kind.

    Attributes:
        what: what was done.
        correlation: Spearman's, with the good model's scores; None where it computes none.
        seen: the checks that refuse it.
        hard: the share of the hard comparisons in the right order, in words.

    """

    what: str
    correlation: float | None
    seen: tuple[str, ...]
    hard: str = ""

    @property
    def broken(self) -> bool:
        """Whether it ranks otherwise than the good model."""
        return self.correlation is None or not self.correlation >= WRONG


def load(folder: Path, *settings: str) -> Scorer:
    """The model, checked."""
    paths = ("input.path=in", "output.path=out", f"model.path={folder}")
    fixed = ("model.device=cpu", "model.dtype=float32")
    return load_scorer(load_config(None, (*paths, *fixed, *settings)))


@cache
def sample_pairs() -> list[tuple[str, str]]:
    """First sentences and docstrings of the standard library, which the demo's model was not
    trained on: each of 10 queries with the beginnings of 10 passages, one of them its own.
    """
    import collections
    import json
    import os
    import random
    import statistics
    import textwrap

    modules = (os, shutil, json, random, statistics, textwrap, collections, os.path)
    members = (inspect.getmembers(module, inspect.isroutine) for module in modules)
    texts = {name: inspect.getdoc(f) or "" for found in members for name, f in found}
    long = [text for name, text in sorted(texts.items()) if len(text) > 60 and name[0] != "_"]
    step = len(long) // QUERIES
    return [
        (long[i * step].split(".")[0], long[(i * step + j * 7) % len(long)][:_CHARACTERS])
        for i in range(QUERIES)
        for j in range(PASSAGES)
    ]


def correlation(right: np.ndarray, scores: np.ndarray) -> float:
    """Spearman's; 0 of constant scores, which have none."""
    return float(np.nan_to_num(spearmanr(right, scores).statistic))


def hard_share(scorer: Scorer) -> str:
    """Of the hard comparisons in the right order, in words."""
    found = [check.measured for check in scorer.report.checks if check.name == HARD]
    return found[0].partition("(")[2].partition(")")[0] if found else ""


def measured(title: str, what: str) -> Finding:
    """Build a kind, load it with all checks made and none enforced, and score the pairs."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        KINDS[title][what](DEMO, folder)
        try:
            scorer = load(folder, *ENFORCED_NONE)
            scores = scorer.score_pairs(sample_pairs())
        except RerankError as error:
            return Finding(what, None, (error_check(error),))
    failed = tuple(f"{check.group}/{check.name}" for check in scorer.report.failed)
    return Finding(what, correlation(right_scores(), scores), failed, hard_share(scorer))


@cache
def right_scores() -> np.ndarray:
    """Those of the good model."""
    return load(DEMO).score_pairs(sample_pairs())


def error_check(error: RerankError) -> str:
    """The check that ended loading, or the kind of the error."""
    checks = getattr(error, "report", {}).get("checks", ())
    failed = [f"{c['group']}/{c['name']}" for c in checks if not c["passed"]]
    return failed[-1] if failed else type(error).__name__


def table(findings: list[Finding]) -> str:
    """Markdown."""
    lines = ["| what was done | Spearman | hard comparisons | seen by |", "|---|---|---|---|"]
    for one in findings:
        seen = ", ".join(f"`{name}`" for name in one.seen) or "accepted"
        rho = "none" if one.correlation is None else f"{one.correlation:.3f}"
        lines.append(f"| {one.what} | {rho} | {one.hard} | {seen} |")
    return "\n".join(lines)


def page(findings: dict[str, list[Finding]]) -> str:
    """All findings by group, with the number of those that are accepted though broken."""
    broken = [one for title in DAMAGED for one in findings[title] if one.broken]
    accepted = [one for one in broken if not one.seen]
    refused = [one for one in findings[UNHARMED] if one.seen]
    number = sum(len(findings[title]) for title in DAMAGED)
    lines = [
        HEADING,
        f"Of {number} damaged copies, {len(broken)} are broken (correlation below {WRONG}).",
        f"Preflight accepts {len(accepted)} of these ({len(accepted) / len(broken):.1%}).",
        f"Of {len(findings[UNHARMED])} copies changed without harm, {len(refused)} are refused.",
    ]
    for title, group in findings.items():
        wrong = [one for one in group if one.broken]
        missed = [one for one in wrong if not one.seen]
        lines += [f"\n## {title}\n", f"{len(wrong)} broken, {len(missed)} of them accepted.\n"]
        lines.append(table(group))
    return "\n".join(lines)


def main() -> None:
    """Print the page. A kind takes about two seconds of a core."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1, help="processes that measure side by side")
    parser.add_argument("--every", type=int, default=1, help="measure each so manieth kind alone")
    given = parser.parse_args()
    names = [(title, what) for title, kinds in DAMAGED.items() for what in kinds][:: given.every]
    names += [(UNHARMED, what) for what in SOUND]
    findings: dict[str, list[Finding]] = {title: [] for title in KINDS}
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        results = pool.map(measured, *zip(*names, strict=True))
        for (title, _), found in zip(names, results, strict=True):
            findings[title].append(found)
            print(title, found, file=sys.stderr, flush=True)
    print(page(findings))
