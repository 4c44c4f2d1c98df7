"""Runs up to the point where Ray would start, and outputs that such a run has begun."""

from __future__ import annotations

from pathlib import Path

from reranker_core.config import Config
from reranker_core.output.identity import claim, digest, identity, recorded
from reranker_core.prepare import Prepared
from tests.outputs import commit_part
from tests.tables import config, flat, write


def two_shards(tmp_path: Path) -> Path:
    """Ten rows each in `tmp_path`/in."""
    write(tmp_path / "in" / "a.parquet", flat(10))
    write(tmp_path / "in" / "b.parquet", flat(10))
    return tmp_path


def settings(folder: Path, bert: Path, *overrides: str) -> Config:
    return config(folder / "in", folder / "out", "plan.part_rows=5", *overrides, model=bert)


def begin(prepared: Prepared, dtype: str = "float32") -> None:
    """Claim the output, as a run does once a replica's dtype is known."""
    scoring = prepared.fingerprint | {"dtype": dtype}
    run = identity(scoring, prepared.plan, prepared.config)
    claim(prepared.store, run, prepared.before or prepared.replaced)


def finish(prepared: Prepared, *numbers: int) -> None:
    run = digest(recorded(prepared.store) or {})
    for number in numbers:
        part = prepared.plan.parts[number]
        commit_part(prepared.store, part, prepared.plan.schema, prepared.config, run)
