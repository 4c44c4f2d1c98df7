"""What Ray raises becomes one line of ours, with the cause's words and an exit code."""

from __future__ import annotations

import errno
import pickle
import re

import pytest
import torch
from ray.data._internal.util import _annotate_exception_with_retry_context
from ray.exceptions import (
    ActorDiedError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayTaskError,
    RuntimeEnvSetupError,
    UserCodeException,
    WorkerCrashedError,
)

from reranker_core.errors import ConfigError, Incomplete, PreflightRefused
from reranker_core.pipeline import prose
from reranker_core.pipeline.failures import as_ours, our_errors

# As Ray 2.60 words it.
SHORTAGE = (
    "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: "
    "10.0.0.7, ID: 4c7ba58a06) was 22.41GB used / 23.54GB limit (0.95)\nOOM kill reason: Memory "
    "usage 24062509711B exceeded threshold of 24012260556B (95.0% of 25276063744B limit)\nObject "
    "store memory usage: [- objects spillable: 0\n"
    + "- bytes spillable: 0\n"
    * 20
    + "Ray killed 1 "
    "worker(s) based on the killing policy\nConsidered workers: [\nSelected to kill: "
    "(Actor(8577de67dd): job ID=02000000, lease ID=0100, task "
    "name=MapWorker(MapBatches(Replica)).__init__, required resources={CPU: 2}, pid=6012, actual "
    "memory used=0.04GB, worker ID=28bda308f2)\n]\nTop 10 memory users: PID\tMEM(GB)\tCOMMAND\n"
)
TRACE = "ray::task()\n" + '  File "x.py", line 1, in f\n' * 40


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("task", TRACE + f"{type(cause).__name__}: {cause}", cause)


def wrapped(cause: Exception) -> Exception:
    """As Ray Data wraps what a stage raises."""
    outer = UserCodeException("UDF failed")
    outer.__cause__ = cause
    return task_error(outer)


CASES = {
    "full GPU": (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        5,
        "GPU has too little memory .*2.00 GiB.*score.max_batch_tokens",
    ),
    "full disk": (
        OSError(errno.ENOSPC, "No space left on device", "/o/x"),
        5,
        "the disk of /o/x is full",
    ),
    "quota": (
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        5,
        "the disk of a node is full.*RAY_TMPDIR",
    ),
    "module": (
        ModuleNotFoundError("No module named 'torch'"),
        2,
        "No module named 'torch'.*nstall",
    ),
    "value": (ValueError("of\nseveral\nlines"), 5, "a worker failed: ValueError: of several lines"),
    "memory": (MemoryError(), 5, "a worker has no memory left.*plan.part_rows"),
    "without words": (KeyError(), 5, "a worker failed: KeyError"),
}


@pytest.mark.parametrize("wrap", [task_error, wrapped])
@pytest.mark.parametrize(("cause", "code", "expected"), CASES.values(), ids=CASES)
def test_what_a_worker_raises_is_told_in_its_own_words(cause, code, expected, wrap):
    found = as_ours(wrap(cause))
    assert found.exit_code == code
    assert "\n" not in str(found)
    assert len(str(found)) < 600
    assert re.search(expected, str(found))


RAY = {
    "memory": (
        OutOfMemoryError(SHORTAGE),
        5,
        r"node 10\.0\.0\.7 ran out of memory \(22\.4 of 23\.5 GB\), so Ray ended a replica",
    ),
    "disk": (OutOfDiskError("x"), 5, "no space left for Ray's objects"),
    "store": (ObjectStoreFullError("x"), 5, "no space left for Ray's objects"),
    "crash": (WorkerCrashedError(), 5, "Ray failed: WorkerCrashedError"),
    "environment": (RuntimeEnvSetupError("Failed\n\nuv: command not found"), 2, "uv: command not"),
    "constructor": (
        ActorDiedError(task_error(ModuleNotFoundError("No module named 'x'"))),
        2,
        "a replica cannot start: ModuleNotFoundError: No module named 'x'",
    ),
}


@pytest.mark.parametrize(("error", "code", "expected"), RAY.values(), ids=RAY)
def test_what_ray_raises_is_told_without_its_prose(error, code, expected):
    found = as_ours(error)
    assert found.exit_code == code
    assert "\n" not in str(found)
    assert len(str(found)) < 700
    assert re.search(expected, str(found))


def test_an_actor_that_died_is_explained_by_what_ray_told_of_it_before():
    prose._keep({"lines": [SHORTAGE]})
    found = as_ours(ActorDiedError())
    assert "node 10.0.0.7 ran out of memory (22.4 of 23.5 GB)" in str(found)
    prose._keep({"lines": ["Worker exit detail: It broke off. Some common causes include: (1)"]})
    assert "a process of the run ended unexpectedly: It broke off" in str(as_ours(ActorDiedError()))
    assert "ActorDiedError" in str(as_ours(ActorDiedError()))


def test_errors_of_ours_come_out_as_they_are():
    refused = PreflightRefused("no reranker", {"checks": []})
    for error in (wrapped(refused), task_error(refused).as_instanceof_cause()):
        with pytest.raises(PreflightRefused) as caught, our_errors():
            raise error
        assert (str(caught.value), caught.value.report) == ("no reranker", {"checks": []})
    with pytest.raises(ConfigError, match="as it is"), our_errors():
        raise ConfigError("as it is")


@pytest.mark.parametrize(
    "error",
    [PreflightRefused("no reranker", {"checks": []}), ValueError("x"), ValueError(), KeyError(7)],
)
def test_what_ray_data_adds_to_a_message_is_left_out(error):
    plain = str(as_ours(type(error)(*error.args)))
    for _ in range(2):  # it adds it in each of its layers
        error = _annotate_exception_with_retry_context(
            error,
            description="apply UDF transform",
            attempts=1,
            max_attempts=1,
            total_backoff_s=0.0,
            exception_str="ACCESS_DENIED",
        )
    assert "attempts" in str(error.args)
    assert str(as_ours(error)) == plain


def test_what_the_driver_itself_fails_at_has_an_exit_code_too():
    with (
        pytest.raises(Incomplete, match="the run failed: TypeError: cannot pickle"),
        our_errors(),
    ):
        pickle.dumps(prose.recorded.__wrapped__(), protocol=5)


def test_an_interruption_is_none_of_these():
    with pytest.raises(KeyboardInterrupt), our_errors():
        raise KeyboardInterrupt
