"""Ray's logs on this machine."""

from __future__ import annotations

from pathlib import Path


def log_folder() -> Path | None:
    """Where they lie; None if that is not known."""
    try:
        from ray.data._internal.logging import get_log_directory

        folder = get_log_directory()
    except Exception:  # noqa: BLE001 - it is not a documented function
        return None
    return Path(folder).parent if folder and Path(folder).parent.is_dir() else None


def startup_problem(folder: Path | None) -> str:
    """The last error that a worker process wrote before it could answer; '' if there is none."""
    if folder is None:
        return ""
    files = [*folder.glob("worker-*.err"), *folder.glob("worker-*.out")]
    files += folder.glob("runtime_env_setup-*.log")
    for file in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
        lines = [line.strip() for line in file.read_text(errors="replace").splitlines()]
        told = [line for line in lines if "Error" in line or line.startswith("error")]
        if told:
            return told[-1][:300]
    return ""
