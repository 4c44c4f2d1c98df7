"""The code of this package: every process of a run must have the code of the driver.

Ray puts the folder that the driver was started in before all others on the module path of its
workers, and other nodes may have another version installed.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

import reranker_core
from reranker_core.errors import ConfigError

FOLDER = Path(reranker_core.__file__).parent


@functools.cache
def digest(folder: Path = FOLDER) -> str:
    """SHA-256 of the names and contents of all Python files of the package, shortened."""
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        content = file.read_bytes()
        found.update(f"{file.relative_to(folder).as_posix()} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()[:16]


def require(driver: str, here: str | None = None, folder: str = str(FOLDER)) -> None:
    """Check that a process has the code of the driver.

    Args:
        driver: `digest` of the driver.
        here: `digest` of the process; None: of this one.
        folder: where the process has loaded the package from.

    Raises:
        ConfigError: the code differs.

    """
    if (here or digest()) != driver:
        raise ConfigError(other_code(f"{folder} on node {os.uname().nodename}"))


def other_code(where: str) -> str:
    """The message about a process with other code."""
    return (
        f"a worker of Ray has loaded the package reranker_core from {where}, and its code is not "
        "that of the driver. Install the same version of batch-reranker on all nodes. If this is "
        "the folder that you started the command in, start it in another folder"
    )
