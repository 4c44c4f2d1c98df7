"""Results that a subcommand also writes as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reranker_core.errors import ConfigError


def require_folder(path: str | None) -> None:
    """Refuse `--json FILE` in a folder that does not exist, before the work is done."""
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise ConfigError(f"--json {path}: its folder does not exist. Create it first")


def write_json(path: str, content: dict[str, Any]) -> None:
    """Write the file of `--json`.

    Raises:
        ConfigError: it cannot be written.

    """
    try:
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--json {path}: cannot be written: {error.strerror}") from None
