"""Cores by affinity and by quotas of control groups, on made-up file trees."""

import os
from pathlib import Path

import pytest

from reranker_core.pipeline import connection
from reranker_core.pipeline.placement import TASK_SLOTS
from reranker_core.score import cores
from reranker_core.score.cores import usable_cores
from tests.tables import config

V2 = "29 23 0:26 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw,nsdelegate"
V1 = "33 24 0:29 {top} /sys/fs/cgroup/{folder} rw - cgroup cgroup rw,{folder}"
OTHER = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A machine of 16 cores: its mounts, the process's groups, and files of these."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(cores, "_ROOT", tmp_path)

    def make(mounts, groups, files):
        own = tmp_path / "proc/self"
        own.mkdir(parents=True)
        (own / "mountinfo").write_text("\n".join([OTHER, *mounts]) + "\n")
        (own / "cgroup").write_text("\n".join(groups) + "\n")
        for name, content in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n")

    return make


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("200000 100000", 2),
        ("max 100000", 16),
        ("50000 100000", 1),
        ("250000 100000", 3),
        ("3200000 100000", 16),
        ("nonsense", 16),
        ("", 16),
    ],
)
def test_version_2_of_a_container(tree, limit, expected):
    tree([V2.format(top="/")], ["0::/"], {"cpu.max": limit})
    assert usable_cores() == expected


def test_the_least_of_nested_groups_counts(tree):
    files = {"pods/cpu.max": "400000 100000", "pods/a/cpu.max": "max 100000"}
    tree([V2.format(top="/")], ["0::/pods/a/init"], files | {"cpu.max": "800000 100000"})
    assert usable_cores() == 4


@pytest.mark.parametrize("folder", ["cpu,cpuacct", "cpu"])
@pytest.mark.parametrize(("quota", "expected"), [("300000", 3), ("-1", 16)])
def test_version_1(tree, folder, quota, expected):
    group = f"{folder}/docker/abc"
    files = {f"{group}/cpu.cfs_quota_us": quota, f"{group}/cpu.cfs_period_us": "100000"}
    mounts = [V1.format(top="/", folder="memory"), V1.format(top="/", folder=folder)]
    tree(mounts, ["5:memory:/docker/abc", f"4:{folder}:/docker/abc"], files)
    assert usable_cores() == expected


def test_version_1_whose_mount_shows_the_containers_own_group(tree):
    files = {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}
    tree([V1.format(top="/docker/abc", folder="cpu")], ["4:cpu:/docker/abc"], files)
    assert usable_cores() == 2


def test_a_path_that_is_of_the_host_and_not_there_in_the_container(tree):
    tree([V2.format(top="/")], ["0::/kubepods/pod1/abc"], {"cpu.max": "200000 100000"})
    assert usable_cores() == 2


def test_both_versions_at_once(tree):
    files = {"cpu/a/cpu.cfs_quota_us": "200000", "cpu/a/cpu.cfs_period_us": "100000"}
    tree([V2.format(top="/"), V1.format(top="/", folder="cpu")], ["4:cpu:/a", "0::/b"], files)
    assert usable_cores() == 2


def test_without_control_groups_the_affinity_counts(tree, monkeypatch):
    assert usable_cores() == 16
    tree([], [], {})
    assert usable_cores() == 16
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5})
    assert usable_cores() == 2


def test_an_own_ray_is_given_as_many_as_there_are(tree, monkeypatch):
    tree([V2.format(top="/")], ["0::/"], {"cpu.max": "200000 100000"})
    asked = {}
    monkeypatch.setattr(connection.ray, "init", lambda **options: asked.update(options))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with connection.connected(config("in", "out")):
        pass
    assert asked["num_cpus"] == 2 + TASK_SLOTS


def test_this_machine():
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))
    assert list(cores.quotas(Path("/nowhere"))) == []
