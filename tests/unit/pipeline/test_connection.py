"""What can be wrong with an address, or with this machine, is said at once."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections import namedtuple

import pytest

from reranker_core.config import load_config
from reranker_core.errors import ConfigError
from reranker_core.pipeline import connection
from reranker_core.pipeline.connection import check_address, check_machine
from reranker_core.stopping import Stopped, stop_on_signals
from tests.marks import more

UV = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"
Usage = namedtuple("Usage", "total used free")


def test_an_address_where_nothing_answers_is_an_error(monkeypatch):
    monkeypatch.setattr(connection, "_ANSWER_SECONDS", 0.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(
        ConfigError, match=rf"RAY_ADDRESS={address}: no Ray cluster answers.*unset"
    ) as caught:
        check_address("RAY_ADDRESS", address)
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigError, match=r"leave ray\.address out"):
        check_address("ray.address", f"ray://{address}")


@pytest.mark.parametrize("address", ["local", "auto"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_ray_starts_ends_the_run(address, number, monkeypatch):
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    stops = []

    def starting(**_):
        if number == signal.SIGTERM:  # as ray.init does
            signal.signal(number, lambda *_: sys.exit(15))
        os.kill(os.getpid(), number)
        raise AssertionError("goes on")

    monkeypatch.setattr(connection.ray, "init", starting)
    monkeypatch.setattr(connection.ray, "shutdown", lambda: stops.append(1))
    stop_on_signals()
    try:
        settings = ["input.path=a", "output.path=b", "model.path=c", f"ray.address={address}"]
        with (
            pytest.raises(Stopped, match=f"stopped by {number.name}"),
            connection.connected(load_config(None, settings)),
        ):
            pass
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert stops


@pytest.mark.parametrize("address", ["here", "host:port", "", ":", "host:99999999"])
def test_what_is_no_address_is_an_error(address):
    with pytest.raises(ConfigError, match="expected host:port"):
        check_address("ray.address", address)


@pytest.mark.parametrize("address", ["auto", "anyscale://cluster"])
def test_an_address_that_only_ray_knows_is_left_to_it(address):
    check_address("ray.address", address)


def test_an_address_where_something_answers_is_good():
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_address("ray.address", f"127.0.0.1:{server.getsockname()[1]}")


def test_a_folder_of_ray_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"Ray cannot write to its folder .*file/ray.*RAY_TMPDIR"):
        check_machine()


def test_a_disk_that_is_nearly_full_and_a_small_shm_are_told_of(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    usage = {str(tmp_path / "ray"): Usage(1000, 970, 30), "/dev": Usage(64 << 20, 0, 64 << 20)}
    monkeypatch.setattr(connection.shutil, "disk_usage", lambda path: usage[str(path)])
    with caplog.at_level(logging.WARNING):
        check_machine(shm="/dev")
    told = [record.getMessage() for record in caplog.records]
    assert "is 97 % full" in told[0]
    assert "/dev has only 64 MiB free" in told[1]
    assert "--shm-size" in told[1]


def test_nothing_is_told_of_a_machine_that_is_well(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    room = Usage(100 << 30, 10 << 30, 90 << 30)
    monkeypatch.setattr(connection.shutil, "disk_usage", lambda path: room)
    check_machine(shm=str(tmp_path))
    assert not caplog.records
    assert os.listdir(tmp_path / "ray") == []


@pytest.mark.slow
@pytest.mark.parametrize(("given", "expected"), [({}, "False"), more({UV: "1"}, "True")])
def test_workers_are_not_started_by_uv_unless_the_user_wants_it(given, expected):
    environment = {name: value for name, value in os.environ.items() if name != UV} | given
    program = (
        "import reranker_core.pipeline.run\n"
        f"from ray._private import ray_constants; print(ray_constants.{UV})"
    )
    found = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True)
    assert found.strip() == expected
