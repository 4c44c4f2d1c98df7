"""Where scores come from: model, input, configuration and software of a run, as plain data."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reranker_core import __version__
from reranker_core.config import Config
from reranker_core.errors.redaction import without_credentials
from reranker_core.input.plan import Plan
from reranker_core.models.digests import short_digest

# Keys with files or folders, besides those of the input and the model.
_FILES = (
    ("preflight", "canaries"),
    ("preflight", "golden"),
    ("report", "against"),
    ("report", "qrels"),
    ("reuse", "from"),
)
_AUTO = "auto"  # the output beside this one
_PACKAGES = ("ray", "torch", "transformers", "tokenizers", "pyarrow", "numpy")


def provenance(plan: Plan, scoring: dict[str, Any], config: Config) -> dict[str, Any]:
    """Fields of the manifest: `model`, `input` and `configuration`.

    Args:
        plan: of the run.
        scoring: its fingerprint.
        config: its configuration.

    """
    model = config.model
    found: dict[str, Any] = {
        "model": {
            "path": model.path,
            "revision": model.revision,
            "digest": short_digest(scoring["model"]),
        },
        "input": {
            "path": _absolute(config.input.path),
            "layout": "nested" if plan.schema.nested else "flat",
            "shards": len(plan.shards),
            "rows": plan.rows,
            "bytes": plan.input_bytes,
            "snapshots": plan.snapshots,
        },
        "configuration": configuration(plan, scoring, config),
    }
    redacted: dict[str, Any] = without_credentials(found)
    return redacted


def configuration(plan: Plan, scoring: dict[str, Any], config: Config) -> dict[str, Any]:
    """The configuration that repeats the run: absolute paths, the model by its digest, the number
    format that was used, and the version of a table. Without credentials.
    """
    found = config.model_dump(mode="json")
    found["input"]["path"] = _absolute(config.input.path)
    if len(plan.snapshots) == 1:
        (found["input"]["snapshot"],) = plan.snapshots.values()
    found["model"]["dtype"] = scoring["dtype"]
    found["model"]["digest"] = short_digest(scoring["model"])
    for section, name in _FILES:
        given = found[section][name]
        if isinstance(given, list):
            found[section][name] = [each if each == _AUTO else _absolute(each) for each in given]
        elif given not in (None, _AUTO):
            found[section][name] = _absolute(given)
    redacted: dict[str, Any] = without_credentials(found)
    return redacted


def software() -> dict[str, str]:
    """Versions of what computes the scores, on the machine of this process."""
    found = {"batch-reranker": __version__}
    found |= {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _absolute(path: str | list[str]) -> str | list[str]:
    """Local paths from the root; URLs as they are."""
    if isinstance(path, list):
        return [str(_absolute(each)) for each in path]
    return path if "://" in path or "::" in path else os.path.abspath(Path(path).expanduser())
