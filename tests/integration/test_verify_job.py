"""`python -m jobs.verify` as a process: what it prints, and its exit codes."""

import subprocess
import sys

import pytest

from reranker_core.output.commit import data_name
from reranker_core.output.inventory import Outstanding
from reranker_core.output.manifest import begin
from tests.outputs import Output, sizes
from tests.running import ROOT
from tests.tables import flat, write


@pytest.fixture
def output(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(22))
    found = Output(tmp_path / "in", tmp_path / "out", "output.rank=true")
    found.drive()
    return found


def verify(path, expect):
    done = subprocess.run(
        [sys.executable, "-m", "jobs.verify", f"output.path={path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == expect, printed
    assert "Traceback" not in printed
    return printed


def test_a_whole_output_is_proven_and_left_as_it_is(output, tmp_path):
    before = {name: output.store.read(name) for name in sizes(output.store)}
    printed = verify(tmp_path / "out", expect=0)
    assert "22 in 6 parts" in printed
    assert "6 read" in printed
    assert {name: output.store.read(name) for name in sizes(output.store)} == before


@pytest.mark.slow
def test_damage_exits_5_foreign_files_6_and_nothing_2(output, tmp_path):
    name = data_name(output.plan.parts[1].name)
    data = bytearray(output.store.read(name))
    data[60] ^= 1
    output.store.write(name, bytes(data))
    assert name in verify(tmp_path / "out", expect=5)
    output.store.write("mine.parquet", b"PAR1")
    assert "mine.parquet" in verify(tmp_path / "out", expect=6)


@pytest.mark.slow
def test_an_incomplete_output_says_how_much_there_is_and_what_to_run(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(22))
    begun = Output(tmp_path / "in", tmp_path / "out")
    begin(begun.store, begun.run, None, Outstanding.all_of(begun.plan))
    for part in begun.plan.parts[:2]:
        begun.commit(part)
    printed = verify(tmp_path / "out", expect=5)
    assert "is incomplete: 2 of 6 parts are committed (36 % of 22 rows)" in printed
    assert "batch-reranker run" in printed
    (tmp_path / "out" / data_name(begun.plan.parts[0].name)).unlink()
    printed = verify(tmp_path / "out", expect=5)
    assert f"{data_name(begun.plan.parts[0].name)}: the file is missing" in printed


@pytest.mark.slow
def test_a_folder_that_is_no_output_exits_2(tmp_path):
    assert "does not exist" in verify(tmp_path / "nothing", expect=2)
    (tmp_path / "empty").mkdir()
    assert "is empty" in verify(tmp_path / "empty", expect=2)
    write(tmp_path / "in" / "a.parquet", flat(22))
    assert "no output of batch-reranker, only a.parquet" in verify(tmp_path / "in", expect=2)
    assert "Not a directory" in verify(tmp_path / "in" / "a.parquet", expect=2)
