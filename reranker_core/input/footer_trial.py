"""Which footers end the process that asks for the facts of their columns.

A Parquet footer has no checksum. pyarrow checks most of it when it opens a file, but some numbers
(the histograms of levels) only when it is asked for a column. There its bindings do not expect an
exception of C++, so a damaged footer ends the process with SIGABRT. So all footers are asked in a
child process first.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import resource
import signal
import time
from collections.abc import Sequence

import pyarrow.parquet as pq

_WIDTH = 8  # bytes of the number of the footer that the child looks at
_SILENT_SECONDS = 60.0  # for one footer; a fork of a process with threads may stand still


def fatal_footers(footers: Sequence[pq.FileMetaData]) -> list[int]:
    """Positions of the footers that end the process. None of them may be encrypted."""
    fatal: list[int] = []
    with mmap.mmap(-1, _WIDTH) as shared:
        first = 0
        while first < len(footers):
            child = os.fork()
            if child == 0:
                _try_all(footers, first, shared)
            if not _is_fatal(child, shared):
                break
            fatal.append(int.from_bytes(shared[:_WIDTH], "little"))
            first = fatal[-1] + 1
    return fatal


def _is_fatal(child: int, shared: mmap.mmap) -> bool:
    """Wait for the child; whether a footer has ended it. A child that stands still says nothing."""
    seen, since = b"", time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.WIFSIGNALED(status)
        if shared[:_WIDTH] != seen:
            seen, since = shared[:_WIDTH], time.monotonic()
        if time.monotonic() - since > _SILENT_SECONDS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.001)


def _try_all(footers: Sequence[pq.FileMetaData], first: int, shared: mmap.mmap) -> None:
    """In the child: ask each footer for each column. Never returns, and runs nothing else of the
    parent, not even after an error.
    """
    try:
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C++ would write to the user's terminal
        for number in range(first, len(footers)):
            shared[:_WIDTH] = number.to_bytes(_WIDTH, "little")
            for index in range(footers[number].num_row_groups):
                group = footers[number].row_group(index)
                for position in range(group.num_columns):
                    group.column(position)
    finally:
        os._exit(0)
