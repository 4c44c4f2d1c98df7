"""S3 servers that tests start, kill and start again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import fsspec
import pytest

WEED = Path(sys.executable).parent / "weed"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "demokey", "AWS_SECRET_ACCESS_KEY": "demosecret"}
BUCKET = "demo"

AnyServer = TypeVar("AnyServer", bound="Server")


class Server(ABC):
    """One server with the bucket `demo`, on ports of its own."""

    def __init__(self) -> None:
        self.port = random.randrange(20_000, 30_000, 10)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            self._command(),
            env=os.environ | CREDENTIALS | {"GOMEMLIMIT": "400MiB"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        client = fsspec.filesystem(
            "s3",
            endpoint_url=self.endpoint,
            key=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            secret=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            skip_instance_cache=True,
        )
        for _ in range(300):
            try:
                urllib.request.urlopen(self.endpoint, timeout=5)
            except urllib.error.HTTPError:  # an answer, too
                pass
            except OSError:
                time.sleep(0.1)
                continue
            if self._has_bucket(client):
                return
            time.sleep(0.1)
        pytest.fail(f"{type(self).__name__} did not come up")

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _has_bucket(self, client: fsspec.AbstractFileSystem) -> bool: ...


class SeaweedFS(Server):
    """A real one: signatures are enforced, and data survive a kill."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.filer_port = self.port + 3

    def _command(self) -> list[str]:
        names = ("s3.port", "master.port", "volume.port", "filer.port", "admin.port")
        return [
            *(str(WEED), "mini", f"-dir={self._folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            # gRPC takes each port plus 10,000
            *(f"-{name}={self.port + offset}" for offset, name in enumerate(names)),
            *(f"-bucket={BUCKET}", "-master.telemetry=false", "-webdav=false", "-admin.ui=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        ]

    def _has_bucket(self, client: fsspec.AbstractFileSystem) -> bool:
        return client.exists(BUCKET)


class Moto(Server):
    """A mock that answers in the words of AWS. No signatures, all in memory, and of two conditional
    writes in the same moment both may win: it looks, then writes.
    """

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", f"-p{self.port}"]

    def _has_bucket(self, client: fsspec.AbstractFileSystem) -> bool:
        client.makedirs(BUCKET, exist_ok=True)
        return True


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    """A running one, with its data in `folder`."""
    with _running(SeaweedFS(folder)) as server:
        yield server


@contextmanager
def moto() -> Iterator[Moto]:
    """A running one."""
    with _running(Moto()) as server:
        yield server


@contextmanager
def clients_of(endpoint: str) -> Iterator[pytest.MonkeyPatch]:
    """The environment in which clients, and jobs, find the server at `endpoint`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        forget_clients()
        yield patch
    forget_clients()


def forget_clients() -> None:
    """fsspec keeps clients by their arguments, and does not see the environment change."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@contextmanager
def _running(server: AnyServer) -> Iterator[AnyServer]:
    server.start()
    try:
        yield server
    finally:
        server.kill()
