"""Connecting to a Ray, or starting a new one, without the messages that Ray prints."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import ray
from ray.data import DataContext

from reranker_core.config import Config
from reranker_core.errors import ConfigError, Incomplete, RerankError, brief
from reranker_core.pipeline import prose
from reranker_core.pipeline.placement import TASK_SLOTS
from reranker_core.pipeline.pool import autoscaling
from reranker_core.score.cores import usable_cores
from reranker_core.stopping import Stopped

log = logging.getLogger(__name__)

_STARTS = 3  # of an own Ray, whose parts have fixed times to come up
_ANSWER_SECONDS = 15.0  # for the port of a Ray elsewhere
_SMALL_SHM = 512 << 20
_FULL_DISK = 0.95  # where Ray puts no more objects on a disk (local_fs_capacity_threshold)


@contextmanager
def connected(config: Config) -> Iterator[bool]:
    """Connect to the Ray of `ray.address` or RAY_ADDRESS, or start a new one, until the end of the
    `with` block. Yields whether it is a new one. If this process is already connected to a Ray,
    that one is used and stays connected.

    Raises:
        ConfigError: there is no Ray at the address, the process is connected to another one, or a
            new one cannot start on this machine.
        Incomplete: a new one did not start.

    """
    with prose.recorded(), _connected(config) as own:
        yield own


@contextmanager
def _connected(config: Config) -> Iterator[bool]:
    if ray.is_initialized():
        joined = ray.get_runtime_context().gcs_address
        if config.ray.address not in (None, "auto", joined):
            raise ConfigError(
                f"ray.address={config.ray.address}: this process is already connected to the Ray "
                f"at {joined}. Leave ray.address out to use that one, or call ray.shutdown() first"
            )
        _set_up()
        yield False
        return
    own = _connect(config)
    try:
        _set_up()
        yield own
    finally:
        ray.shutdown()


def _connect(config: Config) -> bool:
    key = "ray.address" if config.ray.address else "RAY_ADDRESS"
    address = config.ray.address or os.environ.get("RAY_ADDRESS") or "local"
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    if address == "local":
        check_machine()
        _start()
        return True
    check_address(key, address)
    try:
        with _ended_in_order(), prose.without_log_lines():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except RerankError:
        raise
    except Exception as error:  # noqa: BLE001 - of many kinds, none of which passes
        raise ConfigError(
            f"{key}={address}: cannot connect to this Ray cluster ({brief(error)}). Start one with "
            "`ray start --head`, with the same versions of Ray and Python. If it requires a token "
            f"(RAY_AUTH_MODE), provide it. To start a new Ray for this run, {_own(key)}"
        ) from None
    return False


def _start() -> None:
    for left in reversed(range(_STARTS)):
        try:
            with _ended_in_order(), prose.without_log_lines():
                ray.init(
                    address="local",
                    num_cpus=usable_cores() + TASK_SLOTS,
                    include_dashboard=False,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    # Else this waits for the first workers, without end if they cannot start. The
                    # coordinator is the first one then, and it is known how to wait for it.
                    _system_config={"prestart_worker_first_driver": False},
                )
            return
        except RerankError:
            raise
        except (ValueError, OSError) as error:  # such as a path that is too long for a socket
            raise ConfigError(
                f"Ray cannot start on this machine ({brief(error)}). Its files are in "
                f"{session_folder()}; set RAY_TMPDIR to use another folder"
            ) from None
        except Exception as error:  # noqa: BLE001 - what Ray raises when its parts are slow
            ray.shutdown()
            if not left:
                raise Incomplete(
                    f"Ray did not start ({brief(error)}); the machine may be overloaded or out of "
                    "memory. Nothing was scored; run the same command again"
                ) from None
            log.warning("Ray is slow to start on this machine; trying again")


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """A signal while Ray starts ends the run. At SIGTERM, Ray itself would end the process."""
    try:
        yield
    except (RerankError, Stopped):
        ray.shutdown()
        raise
    except SystemExit:
        ray.shutdown()
        raise Stopped(signal.SIGTERM) from None


def check_address(key: str, address: str) -> None:
    """Check that a server answers at the address. Ray itself would wait for many minutes.

    Raises:
        ConfigError: no server answers.

    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if address == "auto" or (host and not port and "://" in address):
        return
    if not host or not port:
        raise ConfigError(
            f"{key}={address}: is not the address of a Ray cluster; expected host:port"
        )
    end = time.monotonic() + _ANSWER_SECONDS
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise ConfigError(
                    f"{key}={address}: no Ray cluster answers there ({brief(error)}). Start one "
                    "with `ray start --head`, or correct the address. To start a new one for "
                    f"this run, {_own(key)}"
                ) from None
        time.sleep(1)


def _own(key: str) -> str:
    if key == "RAY_ADDRESS":
        return "unset RAY_ADDRESS or set ray.address=local"
    return "leave ray.address out"


def session_folder() -> Path:
    """The folder for sockets, logs and spilled data of a new Ray."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray"


def check_machine(shm: str = "/dev/shm") -> None:
    """Check that a new Ray can start on this machine.

    Raises:
        ConfigError: its folder cannot be written, or its disk is full.

    """
    folder = session_folder()
    remedy = "set RAY_TMPDIR to a folder with a short path and a few GB of free space"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"Ray cannot write to its folder {folder} ({error.strerror}); {remedy}"
        ) from None
    disk = shutil.disk_usage(folder)
    if disk.used > _FULL_DISK * (disk.used + disk.free):
        log.warning(
            "the disk of %s is %.0f %% full, so Ray cannot move parts there when memory runs low. "
            "Free space, or %s",
            *(folder, 100 * disk.used / (disk.used + disk.free), remedy),
        )
    if os.path.isdir(shm) and shutil.disk_usage(shm).free < _SMALL_SHM:
        log.warning(
            "%s has only %.0f MiB free, so Ray keeps parts in %s, which is slower. In Docker, "
            "start the container with --shm-size=2g or more",
            *(shm, shutil.disk_usage(shm).free / (1 << 20), folder),
        )


def _set_up() -> None:
    for handler in logging.getLogger("ray.data").handlers:
        # Ray's own handler of the console. Others are not Ray's, or write to its log files.
        if isinstance(handler, logging.StreamHandler) and type(handler).__module__[:4] == "ray.":
            handler.setLevel(logging.CRITICAL)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Errors of ours reach the driver as themselves, not wrapped (and so stripped) by Ray Data.
    context.raise_original_map_exception = True
    # A part is one row, and each is handed on as soon as it is there.
    context.target_max_block_size = 1
    context.target_min_block_size = 0
    context.autoscaling_config = autoscaling()
