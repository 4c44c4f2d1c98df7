"""Outputs with everything that a report shows: several shards, attempts, preflight, quarantine."""

import json
import time
from dataclasses import asdict

from reranker_core.checks import Check, Report
from reranker_core.output.attempts import Recorder
from reranker_core.report.night import PREFLIGHT
from tests.outputs import Output
from tests.tables import flat, write

REPORT = Report(
    (
        Check("meaning", "relevant_above_irrelevant", True, "en 100 %", "90 %"),
        Check("weights", "finite", True, "none", "no NaN"),
    ),
    device="cpu",
    dtype="float32",
    loading_seconds=2.0,
    seconds=1.0,
)


def night(folder, *overrides, shards=3, rows=40, bad=0, name="out", replica="node:1", source=None):
    """A driven output of `shards` shards below `folder`; its first part has `bad` failed pairs."""
    if source is None:
        source = folder / "in"
        for number in range(shards):
            write(source / f"s{number}.parquet", flat(rows, first=number * rows))
    output = Output(source, folder / name, "guard.max_quarantined_fraction=1", *overrides)
    output.claim()
    settings = output.config.model_dump(mode="json")
    recorder = Recorder(
        output.store, 1, time.time() - 60, configuration=settings, parts_to_score=3, cpus=1.0
    )
    with recorder:
        report = {"replica": replica, **asdict(REPORT)}
        recorder.replica(report)
        output.store.write(PREFLIGHT, json.dumps({"replicas": [report]}).encode())
        for number, part in enumerate(output.plan.parts):
            recorder.add(output.commit(part, bad=bad if number == 0 else 0))
    return output
