"""A real S3 server that tests start, kill and start again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

WEED = Path(sys.executable).parent / "weed"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "demokey", "AWS_SECRET_ACCESS_KEY": "demosecret"}
BUCKET = "demo"


class SeaweedFS:
    """One server with the bucket `demo`, on ports of its own; data survive a kill."""

    def __init__(self, folder: Path) -> None:
        self.port = random.randrange(20_000, 30_000, 10)  # gRPC takes each port plus 10,000
        self.endpoint = f"http://127.0.0.1:{self.port}"
        names = ("s3.port", "master.port", "volume.port", "filer.port", "admin.port")
        self._command = [
            *(WEED, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-{name}={self.port + offset}" for offset, name in enumerate(names)),
            *(f"-bucket={BUCKET}", "-master.telemetry=false", "-webdav=false", "-admin.ui=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            self._command,
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
                urllib.request.urlopen(self.endpoint, timeout=1)
            except urllib.error.HTTPError:
                if client.exists(BUCKET):
                    return
            except OSError:
                pass
            time.sleep(0.1)
        pytest.fail("the S3 server did not come up")

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    """A running server."""
    server = SeaweedFS(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


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
