"""Messages during a run: what is shown of ours and of the libraries that work for us."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

from reranker_core.errors.characters import visible
from reranker_core.errors.redaction import without_credentials

LOG_FORMATS = ("text", "json")
LOG_FORMAT_VARIABLE = "BATCH_RERANKER_LOG_FORMAT"

_log = logging.getLogger(__name__)


def set_up_messages(log_format: str | None = None) -> None:
    """Our own messages at INFO, those of libraries from WARNING; no bars of theirs.

    `log_format`: `text`, or `json` for one JSON object a line, with `time`, `level`, `logger`,
    `message`, and `traceback` where there is one. None: that of BATCH_RERANKER_LOG_FORMAT.
    """
    shown = logging.StreamHandler()
    shown.setFormatter(_Lines("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(handlers=[shown], level=logging.WARNING)
    if (log_format or os.environ.get(LOG_FORMAT_VARIABLE)) == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonLines())
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


def tell_error(text: str) -> None:
    """The error that ends the command: the last line on standard error, without credentials."""
    text = visible(without_credentials(text))
    if any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers):
        _log.error(text)
    else:
        print(f"error: {text}", file=sys.stderr)


class _Lines(logging.Formatter):
    """Messages as lines, without credentials and control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """One message, and its traceback."""
        return visible(without_credentials(super().format(record)))


class JsonLines(logging.Formatter):
    """Messages as JSON objects, for collectors of logs. Without credentials."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": without_credentials(record.getMessage()),
        }
        if record.exc_info:
            fields["traceback"] = without_credentials(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)
