"""The whole job against its bare scorer, a naive job on Ray Data, and bare CrossEncoder.predict.

    python -m benchmarks.whole_job [--pairs 6000] [--dtype auto]

Same pairs (docstrings, natural lengths), same weights (MiniLM-L6 shape with a random head), same
threads. This job computes in the fastest number format of the CPU, or the given one, the others in
float32, as they would. A job's time is the whole process: Python and Ray starting, planning,
preflight, Parquet in and out, proof of the output; of the naive one (`benchmarks.naive_job`) what
of that it does. The bare peer's is `predict` alone, model loaded; the bare scorer's is texts to
scores in the job's own parts, a shard each, once before the job and once after it, for machines
change their pace.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import torch
from rich.console import Console
from rich.table import Table
from sentence_transformers import CrossEncoder

from benchmarks.environment import describe
from benchmarks.pairs import CANDIDATES
from benchmarks.random_checkpoints import random_head
from demo.corpus import HELD_OUT, first_stage, read_docs, sample_queries, write_shards
from reranker_core.config import load_config
from reranker_core.device import DTYPES
from reranker_core.score.loading import load_scorer

MAX_LENGTH = 512
PART_ROWS = 10_000  # more than a shard has: a shard is a part


def main() -> None:
    """Measure in turn, compare scores, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=6000)
    parser.add_argument("--dtype", choices=["auto", *DTYPES], default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = random_head(folder / "model")
        docs = read_docs(HELD_OUT)
        queries = sample_queries(docs, options.pairs // CANDIDATES)
        write_shards(docs, queries, first_stage(docs, queries, CANDIDATES), folder / "in")
        rows = ds.dataset(folder / "in").to_table()
        shards = [_pairs(shard.to_table()) for shard in ds.dataset(folder / "in").get_fragments()]

        settings = _settings(folder, model, options.dtype)
        scorer_seconds = _run_scorer(shards, settings)
        job_seconds, manifest, steady = _run_job(folder, settings)
        scorer_seconds = (scorer_seconds + _run_scorer(shards, settings)) / 2
        naive_seconds = _run_naive(folder, model)
        peer_seconds, peer_scores = _run_peer(rows, model)
        scores = ds.dataset(folder / "out").to_table()["score"].to_numpy()
        dtype = json.loads((folder / "out/_run.json").read_text())["fingerprint"]["dtype"]
    difference = float(np.abs(scores - peer_scores).max())
    result = {
        "benchmark": "whole_job",
        "dtype": dtype,
        "pairs": len(rows),
        "job_pairs_per_second": round(len(rows) / job_seconds, 1),
        "job_steady_pairs_per_second": round(steady, 1),
        "bare_scorer_pairs_per_second": round(len(rows) / scorer_seconds, 1),
        "naive_job_pairs_per_second": round(len(rows) / naive_seconds, 1),
        "crossencoder_pairs_per_second": round(len(rows) / peer_seconds, 1),
        "ratio_steady_to_bare_scorer": round(steady / (len(rows) / scorer_seconds), 3),
        "ratio_to_naive_job": round(naive_seconds / job_seconds, 3),
        "ratio_whole_job": round(peer_seconds / job_seconds, 3),
        "ratio_steady": round(steady / (len(rows) / peer_seconds), 3),
        "padding": manifest["padding_fraction"],
        "replica_waited": manifest["waiting_fraction"],
        "max_score_difference": difference,
        "load_after": [round(value, 1) for value in os.getloadavg()],
        **describe(),
    }
    _print(result)
    if difference > (1e-4 if dtype == "float32" else 0.1 * float(np.ptp(peer_scores))):
        sys.exit(f"scores differ by {difference}")


def _settings(folder: Path, model: Path, dtype: str) -> list[str]:
    return [
        *(f"input.path={folder}/in", f"output.path={folder}/out", f"model.path={model}"),
        *(f"model.max_length={MAX_LENGTH}", "model.truncation=longest_first"),
        *(f"model.dtype={dtype}", f"plan.part_rows={PART_ROWS}"),
        *("preflight.checks.meaning=off", "ray.address=local"),
    ]


def _run_job(folder: Path, settings: list[str]) -> tuple[float, dict[str, Any], float]:
    """Seconds of the whole process, the manifest, and pairs/s from a replica's first part on."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "jobs.rerank", *settings], check=True)
    seconds = time.monotonic() - start
    manifest = json.loads((folder / "out/_manifest.json").read_text())
    scoring = manifest["scoring_seconds"] / (1 - manifest["waiting_fraction"])
    return seconds, manifest, manifest["pairs"] / scoring


def _pairs(rows: pa.Table) -> list[tuple[str, str]]:
    return list(zip(rows["query"].to_pylist(), rows["passage"].to_pylist(), strict=True))


def _run_scorer(parts: list[list[tuple[str, str]]], settings: list[str]) -> float:
    """Seconds of `score_pairs`, part by part."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    scorer = load_scorer(load_config(None, settings))
    start = time.monotonic()
    for part in parts:
        scorer.score_pairs(part)
    return time.monotonic() - start


def _run_naive(folder: Path, model: Path) -> float:
    """Seconds of the whole process."""
    command = [sys.executable, "-m", "benchmarks.naive_job"]
    start = time.monotonic()
    subprocess.run([*command, folder / "in", folder / "naive", model], check=True)
    seconds = time.monotonic() - start
    assert ds.dataset(folder / "naive").count_rows() == ds.dataset(folder / "in").count_rows()
    return seconds


def _run_peer(rows: pa.Table, model: Path) -> tuple[float, np.ndarray]:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    peer = CrossEncoder(str(model), device="cpu", max_length=MAX_LENGTH)
    pairs = _pairs(rows)
    peer.predict(pairs[:64], show_progress_bar=False)
    start = time.monotonic()
    scores = peer.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    return time.monotonic() - start, scores


def _print(result: dict[str, object]) -> None:
    table = Table("", "pairs/s", title=f"{result['dtype']}, MiniLM-L6 shape, docstrings")
    table.add_row("CrossEncoder.predict, bare", str(result["crossencoder_pairs_per_second"]))
    table.add_row("naive job on Ray Data, whole process", str(result["naive_job_pairs_per_second"]))
    table.add_row("this job, whole process", str(result["job_pairs_per_second"]))
    table.add_row("this job, from its first part on", str(result["job_steady_pairs_per_second"]))
    table.add_row("its scorer, bare", str(result["bare_scorer_pairs_per_second"]))
    Console().print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
