"""A Ray that outlives single runs, and a way to run the jobs as users do."""

import os
import random
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.running import run_here
from tests.servers import CREDENTIALS

RAY = Path(sys.executable).parent / "ray"


@dataclass(frozen=True)
class Head:
    """A running `ray start --head`: its own address, and that of its job server if it has one."""

    address: str
    dashboard: str | None
    pid: int

    def processes(self):
        """All that it has started."""
        return psutil.Process(self.pid).children(recursive=True)


@contextmanager
def ray_head(dashboard=False, **environment):
    """`ray start --head` on ports of its own, in this environment and more."""
    first = random.randrange(6_500, 8_200, 10)  # below the ports that Ray gives to workers
    command = [RAY, "start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats"]
    process = subprocess.Popen(
        [
            *(*command, f"--port={first}", f"--dashboard-port={first + 1}"),
            f"--include-dashboard={str(dashboard).lower()}",
        ],
        env=os.environ | {"RAY_ADDRESS": "", "RAY_AUTH_MODE": "disabled"} | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    job_server = f"http://127.0.0.1:{first + 1}" if dashboard else None
    head = Head(f"127.0.0.1:{first}", job_server, process.pid)
    try:
        for port in (first, first + 1)[: 1 + dashboard]:
            _wait_for(port)
        yield head
    finally:
        # SIGTERM would have it wait half a minute for its processes.
        for each in [process, *head.processes()]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()


@pytest.fixture(scope="session")
def aws_profile(tmp_path_factory):
    """Where the workers of the shared Ray look for a profile; there is none yet. Credentials they
    have from the environment that it was started in.
    """
    return tmp_path_factory.mktemp("aws") / "config"


@pytest.fixture(scope="session")
def shared_ray(aws_profile):
    """One that saves each run the start of a Ray."""
    with ray_head(AWS_CONFIG_FILE=str(aws_profile), **CREDENTIALS) as head:
        yield head


def _wait_for(port):
    for _ in range(300):
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail(f"Ray did not answer on port {port}")


def join(address):
    """Make this process a driver of a Ray, whose workers then outlive single runs. It stays one
    until it joins another Ray.
    """
    import ray  # not wherever fixtures are known

    if ray.is_initialized() and ray.get_runtime_context().gcs_address == address:
        return
    ray.shutdown()
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")


@pytest.fixture
def joined(shared_ray):
    """This process as a driver of the shared Ray."""
    join(shared_ray.address)


@pytest.fixture
def rerank(joined, bert):
    """Run `python -m jobs.rerank` on the shared Ray with a random-weight model."""

    def call(input_path, output_path, *overrides, **options):
        return run_here(
            f"input.path={input_path}",
            f"output.path={output_path}",
            f"model.path={bert}",
            "model.dtype=float32",
            "preflight.checks.meaning=off",  # the weights are random
            *overrides,
            **options,
        )

    return call


@contextmanager
def meanwhile(act):
    """Call `act` in a thread while the job runs in this one; raises at the end what it raised."""
    raised = []

    def call():
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - in the thread nobody would see it
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    yield
    thread.join(10)
    if raised:
        raise raised[0]
