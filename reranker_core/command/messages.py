"""Messages during a run: what is shown of ours and of the libraries that work for us."""

from __future__ import annotations

import logging
import os


def set_up_messages() -> None:
    """Our own messages at INFO, those of libraries from WARNING; no bars of theirs."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        level=logging.WARNING,
    )
    logging.getLogger("reranker_core").setLevel(logging.INFO)
    for name, value in {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # A thread of Ray Data that outlives the run must not start a Ray of its own.
        "RAY_ENABLE_AUTO_CONNECT": "0",
        # What Ray does about a lost task; the run itself tells what matters of it.
        "RAY_DEDUP_LOGS_SKIP_REGEX": r"retries remaining, so the task will be retried",
    }.items():
        os.environ.setdefault(name, value)
