"""Several batches at the same time on the cores of a CPU.

A forward on one core does not wait for other cores. Two forwards on one core each took 0.85 to 0.88
of the time of one after the other on both cores (docs/performance.md).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from itertools import chain, islice
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST = 4  # each needs Python between its products, where only one can be


class _Process:
    """What the threads of a process share. A fork has none of the threads, so it gets a new one."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew, with a free lock and no threads."""
        self.turn = threading.RLock()
        # Kept: with new threads for each part, a replica's memory grew by 3 MiB a part.
        self.workers = ThreadPoolExecutor(_MOST, "stream")


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.renew)


def turn() -> AbstractContextManager[Any]:
    """The lock of who computes. Threads of the process then neither change torch's number of
    threads or default number format under each other, nor need memory for more than one batch a
    stream.
    """
    return _process.turn


def streams_for(threads: int) -> int:
    """Number of streams for this number of torch threads."""
    return max(1, min(threads, _MOST))


def threads_of(threads: int, streams: int) -> list[int]:
    """Number of threads of each stream."""
    return [threads // streams + (index < threads % streams) for index in range(streams)]


def side_by_side(
    function: Callable[[Item], Result], items: Iterable[Item], streams: int
) -> list[Result]:
    """Results of `function` for each item, in the order of the items.

    Up to `streams` calls run at the same time, at most one a thread of torch. They share the
    threads. Items are taken when they are needed, by one stream at a time.

    An error of the function is raised here, after the other streams have finished their item.
    """
    threads = torch.get_num_threads()
    streams = min(streams, threads)
    if streams == 1:
        return [function(item) for item in items]
    source = iter(items)
    first = list(islice(source, 2))
    if len(first) < 2:  # a lone one gets all threads
        return [function(item) for item in first]
    numbered = enumerate(chain(first, source))
    taking, found, failed = threading.Lock(), dict[int, Result](), list[BaseException]()

    def stream(own_threads: int) -> None:
        torch.get_num_threads()  # the first call in a thread sets it to the number of another one
        torch.set_num_threads(own_threads)
        try:
            while not failed:
                with taking:
                    taken = next(numbered, None)
                if taken is None:
                    return
                found[taken[0]] = function(taken[1])
        except BaseException as error:  # noqa: BLE001 - raised by who waits
            failed.append(error)

    try:
        wait([_process.workers.submit(stream, own) for own in threads_of(threads, streams)])
    except BaseException as interrupt:
        failed.append(interrupt)
        raise
    finally:
        torch.set_num_threads(threads)
    if failed:
        raise failed[0]
    return [found[number] for number in range(len(found))]
