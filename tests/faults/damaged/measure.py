"""What preflight sees of each kind, and how far its ranking is from the good model's."""

from __future__ import annotations

import inspect
import logging
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from reranker_core.config import load_config
from reranker_core.errors import RerankError
from reranker_core.score.scorer import Scorer
from tests.faults.checkpoint_edits import DEMO, Build
from tests.faults.damaged.kinds import DAMAGED, SOUND

GROUPS = ("files", "architecture", "weights", "tokenizer", "prompt", "numerics", "meaning")
ENFORCED_NONE = tuple(f"preflight.checks.{group}=warn" for group in GROUPS)
WRONG = 0.98  # Spearman's correlation below which a model counts as broken
QUERIES, PASSAGES = 10, 10
HARD = "hard_comparisons"


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
    return Scorer.load(load_config(None, (*paths, *fixed, *settings)))


@cache
def sample_pairs() -> list[tuple[str, str]]:
    """First sentences and docstrings of the standard library, which the demo's model was not
    trained on: each of 10 queries with 10 passages, one of them its own.
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
        (long[i * step].split(".")[0], long[(i * step + j * 7) % len(long)])
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


def measured(what: str, build: Build, right: np.ndarray) -> Finding:
    """Build a kind, load it with all checks made and none enforced, and score the pairs."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        build(DEMO, folder)
        try:
            scorer = load(folder, *ENFORCED_NONE)
            scores = scorer.score_pairs(sample_pairs())
        except RerankError as error:
            return Finding(what, None, (" ".join(str(error).split())[:60],))
    failed = tuple(f"{check.group}/{check.name}" for check in scorer.report.failed)
    return Finding(what, correlation(right, scores), failed, hard_share(scorer))


def table(findings: list[Finding]) -> str:
    """Markdown."""
    lines = ["| what was done | Spearman | hard comparisons | seen by |", "|---|---|---|---|"]
    for one in findings:
        seen = ", ".join(f"`{name}`" for name in one.seen) or "accepted"
        rho = "none" if one.correlation is None else f"{one.correlation:.3f}"
        lines.append(f"| {one.what} | {rho} | {one.hard} | {seen} |")
    return "\n".join(lines)


def main() -> None:
    """Print the page."""
    logging.disable(logging.WARNING)
    right = load(DEMO).score_pairs(sample_pairs())
    for title, kinds in {**DAMAGED, "Changed, but sound": SOUND}.items():
        findings = []
        for what, build in kinds.items():
            findings.append(measured(what, build, right))
            print(findings[-1], file=sys.stderr, flush=True)
        broken = [one for one in findings if one.broken]
        accepted = [one for one in broken if not one.seen]
        print(f"\n## {title}\n\n{len(accepted)} of {len(broken)} broken ones are accepted.\n")
        print(table(findings), flush=True)
