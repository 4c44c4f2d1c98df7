"""Messages that Ray prints on the driver: about ended processes, which are recorded instead; lines
of its own log; and advice about settings of Ray Data.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)

LESS = "lower score.max_batch_tokens, plan.part_rows or replicas.max, or use larger nodes"
_LOG_LINE = re.compile(rb"\[\d{4}-\d\d-\d\d [\d:,.]+ [A-Z] \d+ \d+\] ")
_messages: deque[str] = deque(maxlen=100)


@contextmanager
def recorded() -> Iterator[None]:
    """For the time of the `with` block. Ray prints such messages on standard output, whatever its
    log level: the only place to take them is the function that prints them. Ray Data's warnings
    about few parts are not shown: users have none of the settings that they name.
    """
    from ray._private import worker

    plain = getattr(worker, "print_to_stdstream", None)
    if plain is not None:
        worker.print_to_stdstream = _keep
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.data\.")
            yield
    finally:
        if plain is not None:
            worker.print_to_stdstream = plain


@contextmanager
def without_log_lines() -> Iterator[None]:
    """What is written to standard error within the `with` block comes out at its end, without the
    lines of Ray's native log: it tells its own log level there, whatever that is.
    """
    sys.stderr.flush()
    plain = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(plain, 2)
            os.close(plain)
            file.seek(0)
            for line in file:
                if not _LOG_LINE.match(line):
                    os.write(2, line)


def taken() -> list[str]:
    """Messages since the last call, oldest first."""
    found = []
    while _messages:
        found.append(_messages.popleft())
    return found


def out_of_memory(text: str) -> str:
    """Ray's message about a process that it ended because a node ran out of memory, in one line;
    '' for other messages.
    """
    if "low on memory" not in text and "OutOfMemory" not in text:
        return ""
    used = re.search(r"([\d.]+) ?GB used / ([\d.]+) ?GB", text)
    node = re.search(r"\(IP: ([^,)\s]+)", text) or re.search(r"IP address: (\S+)", text)
    where = f"node {node[1]}" if node else "a node"
    amount = f" ({float(used[1]):.1f} of {float(used[2]):.1f} GB)" if used else ""
    whom = re.search(r"Selected to kill: .*?task name=([^,]+)", text)
    process = "a replica" if whom and "Replica" in whom[1] else "a process"
    return (
        f"{where} ran out of memory{amount}, so Ray ended {process} there. Free memory on this "
        f"node, or {LESS}"
    )


def exit_detail(text: str) -> str:
    """How a process ended, without Ray's list of possible causes; '' if unknown."""
    found = re.search(r"[Ww]orker exit detail: (.+)", text)
    return found[1].partition(" Some common causes")[0].strip(" .") if found else ""


def _keep(data: dict[str, Any], *_: Any, **__: Any) -> None:
    text = " ".join(str(line) for line in data.get("lines", ()))
    log.debug("Ray: %s", text)
    _messages.append(text)
