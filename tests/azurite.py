"""Azurite, the emulator of Azure Blob Storage, where it is installed (`npm install -g azurite`)."""

from __future__ import annotations

import importlib.util
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

CONTAINER = "demo"
# The account and the key that every Azurite has.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """The connection string of a running one with the container `demo`, which is in the
    environment. Skips the test where Azurite or adlfs is not installed.
    """
    command = shutil.which("azurite-blob")
    if command is None or not importlib.util.find_spec("adlfs"):
        pytest.skip("azurite-blob or adlfs is not installed")
    port = random.randrange(20_000, 30_000)
    process = subprocess.Popen(
        [
            *(command, f"--location={folder}", f"--blobPort={port}", "--silent"),
            *("--skipApiVersionCheck", "--disableTelemetry"),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        settings = (
            f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{_ACCOUNT};"
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AZURE_STORAGE_CONNECTION_STRING", settings)
            fsspec.get_filesystem_class("abfs").clear_instance_cache()
            fsspec.filesystem("abfs").mkdir(CONTAINER)
            yield settings
    finally:
        fsspec.get_filesystem_class("abfs").clear_instance_cache()
        process.kill()
        process.wait(30)


def _wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("Azurite did not come up")
