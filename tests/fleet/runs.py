"""Runs on made-up GPUs, and what must come out of them."""

import os

import numpy as np
import pyarrow.dataset as ds

from reranker_core.score.loading import load_scorer
from tests.running import run_here
from tests.tables import config

PARTS, ROWS = 30, 40
SETTINGS = ("model.dtype=float32", "model.device=cpu", "preflight.checks.meaning=off")


def name_of(place):
    """A GPU as messages name it."""
    node, gpu = place.split(":")
    return f"GPU {gpu} of node {os.uname().nodename} ({node[:8]})"


def rerank(folder, model, *settings, expect=0):
    return run_here(
        f"input.path={folder}/in.parquet",
        f"output.path={folder}/out",
        f"model.path={model}",
        "model.trust_remote_code=true",
        "replicas.num_gpus=1",
        "replicas.num_cpus=0.5",
        f"plan.part_rows={ROWS}",
        *SETTINGS,
        *settings,
        expect=expect,
    )


def assert_undisturbed(folder, bert, table):
    """The rows in order, with the scores that a scorer gives them without Ray."""
    found = ds.dataset(folder / "out").to_table()
    assert found["doc_id"].equals(table["doc_id"])
    pairs = list(zip(*(table[name].to_pylist() for name in ("query", "passage")), strict=True))
    scores = load_scorer(config("in", "out", *SETTINGS, model=bert)).score_pairs(pairs)
    np.testing.assert_allclose(found["score"].to_numpy(), scores, rtol=1e-5, atol=1e-5)
    assert (folder / "out/_SUCCESS").exists()
