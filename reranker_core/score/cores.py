"""Number of cores that this process may use: its CPU affinity, limited by its control groups.

A container's CPU limit is a quota of time, which neither the affinity nor the machine's count of
cores shows. The kernel's documentation: admin-guide/cgroup-v2 (`cpu.max`) and scheduler/sched-bwc
(`cpu.cfs_quota_us`, of version 1).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def usable_cores() -> int:
    """The smallest of affinity and quotas, rounded up; at least 1."""
    if hasattr(os, "sched_getaffinity"):  # on Linux
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    return max(1, min([available, *map(math.ceil, quotas(_ROOT))]))


def quotas(root: Path) -> Iterator[float]:
    """Limits in cores, of the control group of this process and of all groups around it.

    Args:
        root: of the file system, below which `proc` is mounted.

    """
    own = _own_groups(root)
    for line in _read(root / "proc/self/mountinfo").splitlines():
        mount, _, kind = line.partition(" - ")
        fields, version = mount.split(), _version(kind.split())
        if version not in own or len(fields) < 5:
            continue
        top, mounted = PurePosixPath(fields[3]), root / fields[4].lstrip("/")
        inside = own[version]
        if inside.is_relative_to(top):
            inside = inside.relative_to(top)
        # In a container, the path may be that outside of it: then only the top is there.
        for group in (inside, *inside.parents):
            limit = _LIMITS[version](mounted / str(group).lstrip("/"))
            if limit is not None:
                yield limit


def _own_groups(root: Path) -> dict[str, PurePosixPath]:
    """The path of this process's group, by version."""
    found = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            found["2"] = PurePosixPath(path)
        elif "cpu" in controllers.split(","):
            found["1"] = PurePosixPath(path)
    return found


def _version(kind: list[str]) -> str:
    """Of a mount's file system, source and options: 1 or 2 where it tells of processor time."""
    if kind[:1] == ["cgroup2"]:
        return "2"
    return "1" if kind[:1] == ["cgroup"] and "cpu" in kind[-1].split(",") else ""


def _limit_2(group: Path) -> float | None:
    quota, _, period = _read(group / "cpu.max").strip().partition(" ")
    return _cores(quota, period)


def _limit_1(group: Path) -> float | None:
    return _cores(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


_LIMITS = {"1": _limit_1, "2": _limit_2}


def _cores(quota: str, period: str) -> float | None:
    """Microseconds of processor time in each period; `max` or -1 where there is no limit."""
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
